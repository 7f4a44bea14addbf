/*
 * What JavaScript cannot do: wait for an orphan, handle a signal and exit while the event loop is blocked, and stop new
 * connections in the kernel. Every decision that can wait for JavaScript is made in src/. Every operation takes at most two
 * numbers and returns one, which is -errno where the operation failed.
 *
 * One file works with glibc and with musl, because it is linked with no library. So it calls only functions that both have,
 * and of which glibc has one version: an unversioned name is bound to the oldest one, and the oldest timer_create would
 * write half of a timer_t. See build.js.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <node_api.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static double or_errno(long result) { return (double)(result == -1 ? -errno : result); }

/* ---- children ---- */

/*
 * Returns the wait status of a child of this thread; -EAGAIN while it runs. Never waits for pid -1: that would take libuv's
 * children.
 */
static double reap(double pid, double unused) {
  (void)unused;
  int status = 0;
  if (pid < 1) return -EINVAL;
  long got = syscall(SYS_wait4, (long)pid, &status, WNOHANG | __WNOTHREAD, NULL);
  if (got == 0) return -EAGAIN;
  return got == -1 ? -errno : status;
}

static double become_subreaper(double unused, double unused_too) {
  (void)unused, (void)unused_too;
  return or_errno(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}

/* ---- signals and the watchdog ---- */

/* src/exit/exit-code.ts has the same two numbers. */
enum { EXIT_TIMEOUT = 124, EXIT_CTRL_C = 130, NO_CODE = -1 };

/* Signals that arrive within BURST_MS count as one; src/signals/second-ctrl-c.ts has the same number. */
enum { BURST_MS = 100 };

/* A loop that has not turned for BLOCKED_MS is blocked. src/signals/watchdog.ts shows more often that it turns. */
enum { BLOCKED_MS = 100, NS_PER_MS = 1000000 };

/*
 * Senders of a signal. As the answer of take_signal, 0 means that nobody has repeated SIGINT; src/signals/arrival.ts has the
 * same numbers.
 */
enum { FROM_SELF, FROM_PROCESS, FROM_TERMINAL };

/*
 * What a signal handler shares with JavaScript's thread is atomic, because the kernel may run the handler on any thread, at
 * any moment. The two exceptions, `steps` and `previous`, say why they are not.
 */

/* When the first stop signal arrived, and when the loop turned last: milliseconds of CLOCK_MONOTONIC; 0: never. */
static _Atomic int64_t arrived_at, last_alive_at;
/* The time that a process has after a stop signal, and when its time is up; 0: never. */
static _Atomic int64_t watchdog_ms, ends_at;
/* When the process is ended at the latest after a second Ctrl-C; 0: never. */
static _Atomic int64_t forced_at;
/* The first stop signal, who has sent it, and who has sent SIGINT since. */
static _Atomic int first_signal, first_sender, repeated_by;
/* Whether something is registered; whether JavaScript has begun a shutdown; the code that the process exits with. */
static _Atomic int is_installed, begun, exit_code = NO_CODE;

/*
 * What JavaScript was doing when the loop turned last. Double-buffered: the timer's signal may arrive during a write. Not
 * atomic: the handler reads the one that is not being written, and ends the process. At worst, where another thread goes on,
 * it prints a mixture of two steps; the last byte is always 0.
 */
static char steps[2][256];
static _Atomic int step;

static _Atomic int timer = -1;

/* The handlers that ours calls. Not atomic: one is written only while our handler for that signal is not installed. */
static struct sigaction previous[65];

/* Whether a signal ends this process, and how many have arrived that JavaScript has not handled yet. */
static _Atomic int is_ours[LENGTH(previous)], pending[LENGTH(previous)];

/* Who sent each signal last. */
static _Atomic int last_sender[LENGTH(previous)];

static int64_t now(void) {
  struct timespec time = {0, 0};
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / NS_PER_MS;
}

static void exit_now(int code) {
  for (;;) syscall(SYS_exit_group, code);
}

static size_t append(char *text, size_t at, size_t size, const char *more) {
  while (*more != '\0' && at < size) text[at++] = *more++;
  return at;
}

static size_t append_number(char *text, size_t at, size_t size, int64_t number) {
  char digits[24] = {0};
  size_t first = sizeof digits - 1;
  do digits[--first] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  return append(text, at, size, digits + first);
}

/* Only if it cannot block, as on a full pipe or a stopped terminal: a pipe that is writable takes PIPE_BUF bytes at once. */
static void write_stderr(const char *text, size_t length) {
  struct pollfd standard_error = {.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (syscall(SYS_ppoll, &standard_error, 1, &(struct timespec){0, 0}, NULL, 0) != 1) return;
  while (syscall(SYS_write, STDERR_FILENO, text, length) == -1 && errno == EINTR) continue;
}

/* How long the event loop has not turned. Before the shutdown has begun, the time before the signal does not count. */
static int64_t blocked_ms(int64_t time) {
  return time - (begun || last_alive_at > arrived_at ? last_alive_at : arrived_at);
}

/* Ends the process, with one line that says what it was doing. */
static void end_process(int code, const char *why, int64_t time) {
  char text[512] = {0};
  const char *name = steps[step];
  size_t at = append(text, 0, sizeof text, "pid1: ended with ");
  at = append_number(text, at, sizeof text, code);
  at = append(text, at, sizeof text, ": ");
  at = append(text, at, sizeof text, why);
  if (blocked_ms(time) >= BLOCKED_MS) {
    at = append(text, at, sizeof text, "the event loop was blocked for ");
    at = append_number(text, at, sizeof text, blocked_ms(time));
    at = append(text, at, sizeof text, " ms, ");
  } else if (code == EXIT_TIMEOUT) {
    at = append(text, at, sizeof text, "the time was up, ");
  }
  at = append(text, at, sizeof text, *name == '\0' ? "since before the shutdown could begin" : "during ");
  at = append(text, at, sizeof text, name);
  at = append(text, at, sizeof text, "\n");
  write_stderr(text, at);
  exit_now(code);
}

static void force_exit(int64_t time) { end_process(EXIT_CTRL_C, "Ctrl-C during the shutdown, ", time); }

/* Any process may send this signal, so it only counts when the timer has sent it. */
static void on_timer(int signal_number, siginfo_t *info, void *context) {
  (void)signal_number, (void)context;
  if (info->si_code != SI_TIMER) return;
  if (exit_code != NO_CODE) exit_now(exit_code);
  int64_t time = now();
  if (forced_at != 0 && time >= forced_at) force_exit(time);
  end_process(EXIT_TIMEOUT, "", time);
}

/* 0 stops the timer, or does nothing where there is none. Only system calls, because signal handlers call it too. */
static long set_timer(int64_t ms) {
  struct itimerspec time = {.it_interval = {0, 0}, .it_value = {ms / 1000, ms % 1000 * NS_PER_MS}};
  return timer == -1 ? 0 : syscall(SYS_timer_settime, timer, 0, &time, NULL);
}

/*
 * Sets the timer to what comes first: the end of the time, or the end of the time that JavaScript has after a second Ctrl-C.
 */
static long arm_timer(int64_t time) {
  int64_t forced = forced_at, last = ends_at;
  int64_t at = forced != 0 && (last == 0 || forced < last) ? forced : last;
  return set_timer(at == 0 ? 0 : at > time ? at - time : 1);
}

/* Returns a free real-time signal: JavaScript cannot listen to those. The C libraries use the first three. */
static int free_signal(void) {
  struct sigaction present = {.sa_handler = SIG_IGN};
  for (int number = 62; number > 34; number--) {
    if (sigaction(number, NULL, &present) == -1) return -errno;
    if (!(present.sa_flags & SA_SIGINFO) && present.sa_handler == SIG_DFL) return number;
  }
  return -EBUSY;
}

/*
 * Makes the one timer that every deadline here uses. A seccomp filter may deny it, and it fails where the user has no
 * pending signal left (`ulimit -i`). The signal's handler is installed last, so that a failure leaves none behind.
 */
static double make_timer(double unused, double unused_too) {
  (void)unused, (void)unused_too;
  if (timer != -1) return 0;
  int number = free_signal(), created = -1;
  if (number < 0) return number;
  struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_RESTART | SA_ONSTACK | SA_SIGINFO};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
  struct itimerspec never = {.it_interval = {0, 0}, .it_value = {0, 0}};
  if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &created) == -1) return -errno;
  if (syscall(SYS_timer_settime, created, 0, &never, NULL) == -1 || sigaction(number, &action, NULL) == -1) {
    int failed = errno;
    syscall(SYS_timer_delete, created); /* if that is denied too, a timer that is never set is left */
    return -failed;
  }
  timer = created;
  return 0;
}

/* The kernel itself sends the signals of a terminal's keys. For a sender outside of the PID namespace `si_pid` is 0. */
static int sender_of(const siginfo_t *info) {
  if (info->si_code == SI_KERNEL) return FROM_TERMINAL;
  int has_sender = info->si_code == SI_USER || info->si_code == SI_QUEUE || info->si_code == SI_TKILL;
  return has_sender && info->si_pid != (pid_t)syscall(SYS_getpid) ? FROM_PROCESS : FROM_SELF;
}

/*
 * Decides whether SIGINT is a second Ctrl-C: it arrives more than a burst after the first stop signal. A SIGINT that a
 * process has sent only counts after another such SIGINT, because a terminal that reaches this process needs no wrapper to
 * pass Ctrl-C on. JavaScript gets some time to exit by itself (src/signals/second-ctrl-c.ts), even on a busy machine, so
 * that exit callbacks run.
 */
static void on_further_signal(int sender, int64_t time) {
  if (!is_installed || exit_code != NO_CODE || arrived_at == 0) return;
  if (time - arrived_at <= BURST_MS) {
    /* A wrapper passes on what the terminal has sent to this process too. Two threads may get the two, in either order. */
    if (sender == FROM_TERMINAL && first_signal == SIGINT) first_sender = FROM_TERMINAL;
    return;
  }
  if (sender == FROM_PROCESS && repeated_by == 0 && first_signal == SIGINT && first_sender == FROM_PROCESS)
    repeated_by = FROM_PROCESS;
  if (sender != FROM_TERMINAL) return;
  repeated_by = FROM_TERMINAL;
  if (forced_at == 0) forced_at = time + BLOCKED_MS;
  if ((timer == -1 || arm_timer(time) == -1) && blocked_ms(time) >= BLOCKED_MS) force_exit(time);
}

static void on_stop_signal(int signal_number, siginfo_t *info, void *context) {
  int saved = errno;
  int64_t time = now(), none = 0;
  pending[signal_number]++;
  int sender = last_sender[signal_number] = sender_of(info);
  if (!is_ours[signal_number]) {
    /* The app handles it, or it is passed on to a child. */
  } else if (atomic_compare_exchange_strong(&arrived_at, &none, time)) {
    first_signal = signal_number;
    first_sender = sender;
    if (!begun && watchdog_ms > 0) {
      ends_at = time + watchdog_ms;
      arm_timer(time);
    }
  } else if (signal_number == SIGINT) {
    on_further_signal(sender, time);
  }
  errno = saved;
  const struct sigaction *before = &previous[signal_number];
  if (before->sa_flags & SA_SIGINFO) before->sa_sigaction(signal_number, info, context);
  else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) before->sa_handler(signal_number);
}

/*
 * The next signal counts as the first. `arrived_at` is reset last, because a signal may arrive in the middle and start the
 * clock.
 */
static long forget_arrivals(void) {
  first_signal = repeated_by = 0;
  ends_at = forced_at = 0;
  long stopped = set_timer(0);
  arrived_at = 0;
  return stopped;
}

/*
 * Installs our handler, which then calls libuv's. -ENOENT: there is none, because JavaScript does not listen. With `ours` 0
 * the signal no longer ends the process, not even one that has arrived and that JavaScript has not handled yet.
 */
static double watch_signal(double signal_number, double ours) {
  int number = (int)signal_number;
  if (number < 1 || number >= (int)LENGTH(previous)) return -EINVAL;
  is_ours[number] = ours != 0;
  if (ours == 0) return first_signal == number && !begun ? or_errno(forget_arrivals()) : 0;
  struct sigaction present = {.sa_handler = SIG_DFL};
  if (sigaction(number, NULL, &present) == -1) return -errno;
  if ((present.sa_flags & SA_SIGINFO) && present.sa_sigaction == on_stop_signal) return 0;
  if (!(present.sa_flags & SA_SIGINFO) && present.sa_handler == SIG_DFL) return -ENOENT;
  /*
   * Another copy of this part has installed its handler since, which calls ours. If each called the other, that would never
   * end.
   */
  if (previous[number].sa_handler != SIG_DFL && previous[number].sa_sigaction != present.sa_sigaction) return 0;
  /* Not an assignment: gcc would call memcpy, of which glibc has two versions. */
  if (sigaction(number, NULL, &previous[number]) == -1) return -errno;
  present.sa_sigaction = on_stop_signal;
  present.sa_flags |= SA_SIGINFO | SA_ONSTACK;
  return or_errno(sigaction(number, &present, NULL));
}

/*
 * JavaScript handles a signal, so the loop turns. Returns who has sent SIGINT again: 0 nobody, 1 a process, 2 the terminal.
 * -ENOENT: no such signal has arrived, so the app has emitted it.
 */
static double take_signal(double signal_number, double unused) {
  (void)unused;
  int number = (int)signal_number;
  if (number < 1 || number >= (int)LENGTH(previous)) return -EINVAL;
  last_alive_at = now();
  if (pending[number] == 0) return -ENOENT;
  pending[number]--;
  if (forced_at == 0) return repeated_by;
  forced_at = 0;
  arm_timer(last_alive_at);
  return repeated_by;
}

/* Sets how long after a stop signal the process is ended, also after one that has already arrived. 0: never. */
static double prepare_watchdog(double ms, double unused) {
  (void)unused;
  is_installed = 1;
  watchdog_ms = (int64_t)ms;
  double failed = make_timer(0, 0);
  if (failed != 0 || arrived_at == 0 || begun) return failed;
  ends_at = watchdog_ms == 0 ? 0 : arrived_at + watchdog_ms;
  return or_errno(arm_timer(now()));
}

/* JavaScript has begun a shutdown: the process is ended after `ms` at the latest. 0: never. */
static double start_watchdog(double ms, double unused) {
  (void)unused;
  last_alive_at = now();
  begun = 1;
  ends_at = ms == 0 ? 0 : last_alive_at + (int64_t)ms;
  double failed = make_timer(0, 0);
  return failed != 0 ? failed : or_errno(arm_timer(last_alive_at));
}

/* The shutdown is over, and the process is not to be ended. */
static double stop_watchdog(double unused, double unused_too) {
  (void)unused, (void)unused_too;
  begun = 0;
  steps[step][0] = '\0';
  return or_errno(forget_arrivals());
}

/* Returns how many milliseconds ago the first stop signal arrived; -ENOENT where none has. */
static double age_of_arrival(double unused, double unused_too) {
  (void)unused, (void)unused_too;
  return arrived_at == 0 ? -ENOENT : (double)(now() - arrived_at);
}

/* Whether a terminal has sent the first stop signal. Then the whole process group has got it. */
static double is_from_terminal(double unused, double unused_too) {
  (void)unused, (void)unused_too;
  return arrived_at != 0 && first_sender == FROM_TERMINAL;
}

/* Whether this process has sent the signal that arrived last to itself: the end of a clean-up that raises its signal again. */
static double is_from_self(double signal_number, double unused) {
  (void)unused;
  int number = (int)signal_number;
  if (number < 1 || number >= (int)LENGTH(previous)) return -EINVAL;
  return last_sender[number] == FROM_SELF;
}

/* Ends this process by a signal, for its parent to see. Returns only as PID 1, or where the signal is blocked. */
static double die_of(double signal_number, double unused) {
  (void)unused;
  struct sigaction usual = {.sa_handler = SIG_DFL};
  if (sigaction((int)signal_number, &usual, NULL) == -1) return -errno;
  return or_errno(syscall(SYS_kill, (pid_t)syscall(SYS_getpid), (int)signal_number));
}

/* The signals of a crash: abort(), a bad address, a failed check in V8. */
static const struct {
  int number;
  const char *name;
} crashes[] = {
    {SIGABRT, "SIGABRT"}, {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},
    {SIGILL, "SIGILL"},   {SIGFPE, "SIGFPE"},   {SIGTRAP, "SIGTRAP"},
};

static void on_crash(int signal_number) {
  char text[128] = {0};
  size_t at = append(text, 0, sizeof text, "pid1: native code crashed during the exit (");
  for (size_t i = 0; i < LENGTH(crashes); i++)
    if (crashes[i].number == signal_number) at = append(text, at, sizeof text, crashes[i].name);
  at = append(text, at, sizeof text, "); the exit code stays ");
  at = append_number(text, at, sizeof text, exit_code);
  at = append(text, at, sizeof text, "\n");
  write_stderr(text, at);
  exit_now(exit_code);
}

/*
 * Ends the process with this code after `ms`, no matter what holds it. From now on, a crash ends it with this code too: Node
 * runs the destructors of addons while it exits.
 */
static double exit_within(double code, double ms) {
  exit_code = (int)code & 0xff;
  struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};
  long failed = 0;
  for (size_t i = 0; i < LENGTH(crashes); i++)
    if (sigaction(crashes[i].number, &action, NULL) == -1) failed = -errno;
  double unarmed = make_timer(0, 0);
  if (unarmed != 0) return unarmed;
  return set_timer(ms < 1 ? 1 : (int64_t)ms) == -1 ? -errno : (double)failed;
}

/* ---- sockets ---- */

/*
 * Refuses new connections. Those that are half made or wait to be accepted still come in: they belong to the listener
 * already. Only the look-up for a new connection does not find a listener that is bound to an interface which does not
 * exist. Needs no privilege from Linux 5.7 on.
 */
static double refuse_new(double fd, double unused) {
  (void)unused;
  const int nowhere = INT32_MAX;
  return or_errno(setsockopt((int)fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof nowhere));
}

/*
 * Drops segments with SYN and without ACK: new clients get no answer. All segments of other connections come in, also the
 * answer to a SYN cookie, of which the listener knows nothing. Newer kernels require CAP_NET_ADMIN.
 */
static double drop_new(double fd, double unused) {
  (void)unused;
  const uint32_t flags_at = 13, syn = 0x02, ack = 0x10, drop = 0, keep = UINT32_MAX;
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, flags_at),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, syn | ack),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, syn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, drop),
      BPF_STMT(BPF_RET | BPF_K, keep),
  };
  struct sock_fprog program = {.len = LENGTH(code), .filter = code};
  return or_errno(setsockopt((int)fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}

/*
 * Makes the queue as long as the kernel allows: a handshake that a full queue has dropped ends with its next retransmission.
 */
static double enlarge_queue(double fd, double unused) {
  (void)unused;
  return or_errno(listen((int)fd, INT32_MAX));
}

static long get_listener_info(int fd, struct tcp_info *info) {
  socklen_t size = sizeof *info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size) == -1) return -errno;
  if (size < offsetof(struct tcp_info, tcpi_sacked) + sizeof info->tcpi_sacked) return -EOPNOTSUPP; /* an emulator */
  return info->tcpi_state == TCP_LISTEN ? 0 : -EINVAL;
}

/* Returns how many connections wait to be accepted: for a listening socket the kernel gives that as tcpi_unacked. */
static double queue_length(double fd, double unused) {
  (void)unused;
  struct tcp_info info = {.tcpi_unacked = 0};
  long failed = get_listener_info((int)fd, &info);
  return failed != 0 ? (double)failed : info.tcpi_unacked;
}

/* Returns how many connections may wait, which the kernel gives as tcpi_sacked. As many again may be half made. */
static double queue_limit(double fd, double unused) {
  (void)unused;
  struct tcp_info info = {.tcpi_sacked = 0};
  long failed = get_listener_info((int)fd, &info);
  return failed != 0 ? (double)failed : info.tcpi_sacked;
}

typedef union {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} address;

static long address_of(int fd, address *found) {
  socklen_t size = sizeof *found;
  if (getsockname(fd, &found->any, &size) == -1) return -errno;
  return found->any.sa_family == AF_INET || found->any.sa_family == AF_INET6 ? 0 : -EAFNOSUPPORT;
}

/* Returns 1 for a TCP socket that listens, 0 for any other socket. */
static double is_listening(double fd, double unused) {
  (void)unused;
  int listening = 0;
  socklen_t size = sizeof listening;
  if (getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == -1) return -errno;
  return listening && address_of((int)fd, &(address){.v6 = {0}}) == 0;
}

/* The port is in network order. */
static long query_sockets(int netlink, int family, in_port_t port, unsigned states,
                            long (*count)(const struct inet_diag_msg *)) {
  struct {
    struct nlmsghdr header;
    struct inet_diag_req_v2 request;
  } query = {
      .header = {.nlmsg_len = sizeof query, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
      .request = {.sdiag_family = (uint8_t)family,
                  .sdiag_protocol = IPPROTO_TCP,
                  .idiag_states = states,
                  .id = {.idiag_sport = port}},
  };
  while (send(netlink, &query, sizeof query, 0) == -1)
    if (errno != EINTR) return -errno;
  long sum = 0;
  for (;;) {
    _Alignas(struct nlmsghdr) char answer[8192];
    ssize_t got = recv(netlink, answer, sizeof answer, 0);
    if (got == -1 && errno == EINTR) continue;
    if (got <= 0) return got == 0 ? -EPIPE : -errno;
    unsigned length = (unsigned)got;
    for (struct nlmsghdr *message = (void *)answer; NLMSG_OK(message, length); message = NLMSG_NEXT(message, length)) {
      if (message->nlmsg_type == NLMSG_DONE) return sum;
      if (message->nlmsg_type == NLMSG_ERROR) return ((struct nlmsgerr *)NLMSG_DATA(message))->error;
      const struct inet_diag_msg *found = NLMSG_DATA(message);
      if (found->id.idiag_sport == port) sum += count(found);
    }
  }
}

/* Adds up what `count` returns for each socket of a port that is in one of the states. The port is in network order. */
static long sum_sockets(int family, in_port_t port, unsigned states, long (*count)(const struct inet_diag_msg *)) {
  int netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (netlink == -1) return -errno;
  long sum = query_sockets(netlink, family, port, states, count);
  close(netlink); /* on Linux EINTR closes it too */
  return sum;
}

static long one(const struct inet_diag_msg *socket) {
  (void)socket;
  return 1;
}

/*
 * A client that gets the SYN-ACK answers within a round trip. Otherwise the SYN-ACK is sent again, the first time after a
 * second. When no answer comes within a round trip, none is expected before the next SYN-ACK, seconds later.
 */
static long one_if_answer_due(const struct inet_diag_msg *socket) {
  const int round_trip_ms = 300, first_timeout_ms = 1000;
  if (socket->idiag_retrans == 0) return 1;
  /*
   * The timeout doubles when it has passed, but not when the client sends its SYN again and the SYN-ACK is sent again for
   * that.
   */
  for (int doubled = 0; doubled <= socket->idiag_retrans && doubled <= 6; doubled++) {
    int64_t sent_ms_ago = ((int64_t)first_timeout_ms << doubled) - socket->idiag_expires;
    if (sent_ms_ago >= 0 && sent_ms_ago < round_trip_ms) return 1;
  }
  return 0;
}

/* The FIN counts as a byte in the kernel's queue, but is no data. */
static long bytes_in_flight(const struct inet_diag_msg *socket) {
  return socket->idiag_wqueue > 1 ? socket->idiag_wqueue - 1 : 0;
}

/*
 * Returns how many connections to a listening socket are half made: SYN-ACK sent, final ACK outstanding. They have the
 * listener's address family, whatever the client's is. With `due` only those whose ACK may arrive at any moment.
 */
static double handshakes(double fd, double due) {
  address local = {.v6 = {0}};
  long failed = address_of((int)fd, &local);
  if (failed != 0) return (double)failed;
  in_port_t port = local.v4.sin_port; /* sin6_port is at the same place */
  return (double)sum_sockets(local.any.sa_family, port, 1 << TCP_SYN_RECV, due != 0 ? one_if_answer_due : one);
}

/* Returns how many bytes of data the client has not acknowledged, on the connections of a port that were closed here. */
static double undelivered(double port, double version) {
  const int host_order = (int)port & 0xffff;
  const in_port_t network_order = (in_port_t)(host_order << 8 | host_order >> 8); /* every CPU of build.js is little-endian */
  const unsigned states = 1 << TCP_FIN_WAIT1 | 1 << TCP_CLOSING | 1 << TCP_LAST_ACK;
  return (double)sum_sockets(version == 6 ? AF_INET6 : AF_INET, network_order, states, bytes_in_flight);
}

/* Returns how many received bytes of a connection this process has not read yet. */
static double unread_bytes(double fd, double unused) {
  (void)unused;
  int bytes = 0;
  long failed = syscall(SYS_ioctl, (int)fd, FIONREAD, &bytes);
  return failed == -1 ? -errno : bytes;
}

/*
 * Returns for how many milliseconds a connection has been idle: no data was sent or received. Keep-alive probes do not
 * count. 0 while received data is unread.
 */
static double idle_ms(double fd, double unused) {
  if (unread_bytes(fd, unused) > 0) return 0;
  struct tcp_info info = {.tcpi_last_data_sent = 0};
  socklen_t size = sizeof info;
  if (getsockopt((int)fd, IPPROTO_TCP, TCP_INFO, &info, &size) == -1) return -errno;
  if (size < offsetof(struct tcp_info, tcpi_last_data_recv) + sizeof info.tcpi_last_data_recv) return -EOPNOTSUPP;
  return info.tcpi_last_data_sent < info.tcpi_last_data_recv ? info.tcpi_last_data_sent : info.tcpi_last_data_recv;
}

/* ---- pid1 run ---- */

static pid_t own_pid;

/*
 * Another thread of Node has taken the signal. It is sent to the main thread, which blocks it, so that it waits there: the
 * exec ends all other threads, and keeps what waits for this one.
 */
static void send_to_main_thread(int signal_number) { syscall(SYS_tgkill, own_pid, own_pid, signal_number); }

/* Blocks all signals for the program to come, which takes them up. */
static void keep_signals(void) {
  own_pid = (pid_t)syscall(SYS_getpid);
  struct sigaction kept = {.sa_handler = send_to_main_thread, .sa_flags = SA_RESTART};
  static const int never[] = {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGKILL, SIGSTOP, SIGCHLD};
  uint64_t all = ~(uint64_t)0;
  for (int number = 1; number < (int)LENGTH(previous); number++) {
    size_t i = 0;
    while (i < LENGTH(never) && never[i] != number) i++;
    /* libc refuses its own two real-time signals. */
    if (i == LENGTH(never)) (void)sigaction(number, &kept, NULL);
  }
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
}

extern char **environ;

/* Node closes all its descriptors at an exec: these are the program's, the last ones by systemd's LISTEN_FDS. */
static void keep_descriptors(void) {
  static const char name[] = "LISTEN_FDS=";
  int count = 0;
  for (char **each = environ; *each != NULL; each++) {
    size_t at = 0;
    while (name[at] != '\0' && (*each)[at] == name[at]) at++;
    if (name[at] != '\0') continue;
    for (; (*each)[at] >= '0' && (*each)[at] <= '9' && count < 1000; at++) count = count * 10 + ((*each)[at] - '0');
  }
  for (int fd = 0; fd < 3 + count; fd++) syscall(SYS_fcntl, fd, F_SETFD, 0);
}

/* The last `count` arguments of this process as the kernel got them, because they need not be UTF-8. Returns their size. */
static long read_arguments(char *buffer, size_t size, size_t count) {
  long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t length = 0;
  long got;
  while (length < size && (got = syscall(SYS_read, fd, buffer + length, size - length)) > 0) length += (size_t)got;
  syscall(SYS_close, fd);
  size_t from = length;
  for (size_t left = count; from > 0 && left > 0; left--)
    for (from--; from > 0 && buffer[from - 1] != '\0';) from--;
  for (size_t i = from; i < length; i++) buffer[i - from] = buffer[i];
  return length == 0 || length == size ? -1 : (long)(length - from);
}

/*
 * Replaces this process: `becomeInit(file, count, text)`. The program gets `--from-node` and the last `count` arguments of
 * this process; where /proc cannot be read, `text` has them, each with a zero behind it. Returns only if it has failed, with
 * -errno.
 */
static napi_value become_init(napi_env env, napi_callback_info info) {
  static char file[4096];
  enum { SIZE = 1 << 23 };
  napi_value arguments[3] = {NULL, NULL, NULL}, result = NULL;
  size_t given = LENGTH(arguments), length = 0;
  double count = 0;
  if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok) return NULL;
  if (napi_get_value_string_utf8(env, arguments[0], file, sizeof file, &length) != napi_ok) return NULL;
  if (napi_get_value_double(env, arguments[1], &count) != napi_ok || !(count >= 0 && count < SIZE)) return NULL;
  char *text = (char *)syscall(SYS_mmap, NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
  size_t list_size = ((size_t)count + 3) * sizeof(char *);
  char **list = (char **)syscall(SYS_mmap, NULL, list_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
  double failed = -ENOMEM;
  if (text != MAP_FAILED && list != MAP_FAILED) {
    long size = read_arguments(text, SIZE, (size_t)count);
    if (size < 0 && napi_get_value_string_utf8(env, arguments[2], text, SIZE, &length) == napi_ok) size = (long)length;
    size_t at = 0;
    list[at++] = file;
    list[at++] = "--from-node";
    for (char *each = text; each < text + size && at < (size_t)count + 2; at++) {
      list[at] = each;
      while (*each != '\0') each++;
      each++;
    }
    list[at] = NULL;
    keep_descriptors();
    keep_signals();
    failed = or_errno(syscall(SYS_execve, file, list, environ));
  }
  return napi_create_double(env, failed, &result) == napi_ok ? result : NULL;
}

/* ---- Node-API ---- */

typedef struct {
  const char *name;
  double (*run)(double first, double second);
} operation;

static const operation operations[] = {
    {"reap", reap},
    {"becomeSubreaper", become_subreaper},
    {"watchSignal", watch_signal},
    {"takeSignal", take_signal},
    {"makeTimer", make_timer},
    {"prepareWatchdog", prepare_watchdog},
    {"startWatchdog", start_watchdog},
    {"stopWatchdog", stop_watchdog},
    {"ageOfArrival", age_of_arrival},
    {"isFromTerminal", is_from_terminal},
    {"isFromSelf", is_from_self},
    {"dieOf", die_of},
    {"exitWithin", exit_within},
    {"refuseNew", refuse_new},
    {"dropNew", drop_new},
    {"queueLimit", queue_limit},
    {"enlargeQueue", enlarge_queue},
    {"isListening", is_listening},
    {"queueLength", queue_length},
    {"handshakes", handshakes},
    {"idleMs", idle_ms},
    {"unreadBytes", unread_bytes},
    {"undelivered", undelivered},
};

static napi_value run(napi_env env, napi_callback_info info) {
  napi_value arguments[2] = {NULL, NULL}, result = NULL;
  size_t count = LENGTH(arguments);
  void *data = NULL;
  double numbers[2] = {0, 0};
  if (napi_get_cb_info(env, info, &count, arguments, NULL, &data) != napi_ok) return NULL;
  double answer = 0;
  for (size_t i = 0; i < count && i < LENGTH(numbers); i++)
    if (napi_get_value_double(env, arguments[i], &numbers[i]) != napi_ok || !(numbers[i] >= 0 && numbers[i] <= INT32_MAX))
      answer = -EINVAL; /* any other number is no int either */
  if (answer == 0) answer = ((const operation *)data)->run(numbers[0], numbers[1]);
  return napi_create_double(env, answer, &result) == napi_ok ? result : NULL;
}

/* Heartbeat: the loop turns, and this is its current step. */
static napi_value set_step(napi_env env, napi_callback_info info) {
  napi_value argument = NULL;
  size_t count = 1, length = 0;
  int other = 1 - step;
  if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) != napi_ok) return NULL;
  if (napi_get_value_string_utf8(env, argument, steps[other], sizeof steps[other], &length) != napi_ok) return NULL;
  for (size_t i = 0; i < length; i++)
    if (steps[other][i] == '\n') steps[other][i] = ' ';
  last_alive_at = now();
  step = other;
  return NULL;
}

static int export(napi_env env, napi_value exports, const char *name, napi_callback callback, void *data) {
  napi_value function = NULL;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, data, &function) == napi_ok &&
         napi_set_named_property(env, exports, name, function) == napi_ok;
}

NAPI_MODULE_INIT() {
  /* A worker must not set the clock that ends the whole process. Its end may also unload this part, and the handlers in it. */
  if (syscall(SYS_gettid) != syscall(SYS_getpid)) {
    napi_throw_error(env, NULL, "signals and children are those of the main thread");
    return NULL;
  }
  int complete = export(env, exports, "setStep", set_step, NULL) && export(env, exports, "becomeInit", become_init, NULL);
  for (size_t i = 0; complete && i < LENGTH(operations); i++)
    complete = export(env, exports, operations[i].name, run, (void *)&operations[i]);
  return complete ? exports : NULL;
}
