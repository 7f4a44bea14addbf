/*
 * What JavaScript cannot do: wait for an orphan, hear a signal and leave while the event loop is blocked, and close a door
 * in the kernel. Every decision is made in src/; here every operation takes at most two numbers and answers with one, which
 * is -errno where it failed.
 *
 * One file for glibc and musl: linked with nothing, so it names only functions that both have, and that glibc has in one
 * version (an unversioned name is bound to the oldest: timer_create would write half of a timer_t). See build.js.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <node_api.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
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

/* The wait status of a child of this very thread; -EAGAIN while it runs. Never of any child: libuv waits for its own. */
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

/* ---- the clock of a shutdown ---- */

enum { MS = 1000000, LOOP_TURNS_MS = 100, TIMED_OUT = 124, NO_CODE = -1 };

/* Written here and in signal handlers. Milliseconds of CLOCK_MONOTONIC; 0: none. */
static int64_t arrived_at, last_alive_at, watchdog_ms;
static int came_from_terminal, started, exit_code = NO_CODE;

/* Two, for a signal may come while one is being written. */
static char steps[2][256];
static int step;

static int timer = -1, timer_signal;
static struct sigaction previous[65];

static int64_t now(void) {
  struct timespec time = {0, 0};
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / MS;
}

static void leave(int code) {
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

/* Not where a full pipe or a stopped terminal would hold us: a pipe that takes anything takes PIPE_BUF bytes at once. */
static void say(const char *text, size_t length) {
  struct pollfd standard_error = {.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (syscall(SYS_ppoll, &standard_error, 1, &(struct timespec){0, 0}, NULL, 0) != 1) return;
  while (syscall(SYS_write, STDERR_FILENO, text, length) == -1 && errno == EINTR) continue;
}

static void on_timer(int signal_number) {
  (void)signal_number;
  if (exit_code != NO_CODE) leave(exit_code);
  char text[512] = {0};
  const char *name = steps[__atomic_load_n(&step, __ATOMIC_ACQUIRE)];
  int64_t blocked_ms = now() - (last_alive_at > arrived_at ? last_alive_at : arrived_at);
  size_t at = append(text, 0, sizeof text, "pid1: ended with 124: ");
  if (blocked_ms < LOOP_TURNS_MS) {
    at = append(text, at, sizeof text, "the time was up, ");
  } else {
    at = append(text, at, sizeof text, "the event loop was blocked for ");
    at = append_number(text, at, sizeof text, blocked_ms);
    at = append(text, at, sizeof text, " ms, ");
  }
  at = append(text, at, sizeof text, *name == '\0' ? "since before the shutdown could begin" : "during ");
  at = append(text, at, sizeof text, name);
  at = append(text, at, sizeof text, "\n");
  say(text, at);
  leave(TIMED_OUT);
}

/* 0 stops it, also one that was never made. Only system calls, for it is called from a signal handler too. */
static long set_timer(int64_t ms) {
  struct itimerspec time = {.it_interval = {0, 0}, .it_value = {ms / 1000, ms % 1000 * MS}};
  return timer == -1 ? 0 : syscall(SYS_timer_settime, timer, 0, &time, NULL);
}

/* A real-time signal, which JavaScript cannot listen to; not the first three, which the C libraries use; one that is free. */
static double make_timer(void) {
  if (timer != -1) return 0;
  struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART | SA_ONSTACK};
  struct sigaction present = {.sa_handler = SIG_IGN};
  for (timer_signal = 62; timer_signal > 34; timer_signal--) {
    if (sigaction(timer_signal, NULL, &present) == -1) return -errno;
    if (!(present.sa_flags & SA_SIGINFO) && present.sa_handler == SIG_DFL) break;
  }
  if (timer_signal == 34) return -EBUSY;
  if (sigaction(timer_signal, &action, NULL) == -1) return -errno;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = timer_signal};
  int created = -1;
  if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &created) == -1) return -errno;
  timer = created;
  return 0;
}

static void on_stop_signal(int signal_number, siginfo_t *info, void *context) {
  int saved = errno, expected = 0;
  if (__atomic_compare_exchange_n(&started, &expected, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    arrived_at = now();
    came_from_terminal = info->si_code == SI_KERNEL;
    if (watchdog_ms > 0) set_timer(watchdog_ms);
  }
  errno = saved;
  const struct sigaction *before = &previous[signal_number];
  if (before->sa_flags & SA_SIGINFO) before->sa_sigaction(signal_number, info, context);
  else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) before->sa_handler(signal_number);
}

/* Goes in front of the handler that is there, libuv's: without a listener in JavaScript there is none. */
static double watch_signal(double signal_number, double unused) {
  (void)unused;
  int number = (int)signal_number;
  if (number < 1 || number >= (int)LENGTH(previous)) return -EINVAL;
  struct sigaction present = {.sa_handler = SIG_DFL};
  if (sigaction(number, NULL, &present) == -1) return -errno;
  if ((present.sa_flags & SA_SIGINFO) && present.sa_sigaction == on_stop_signal) return 0;
  if (!(present.sa_flags & SA_SIGINFO) && present.sa_handler == SIG_DFL) return -ENOENT;
  /* Asked for once more, not copied: gcc would call memcpy, which glibc has in two versions. */
  if (sigaction(number, NULL, &previous[number]) == -1) return -errno;
  present.sa_sigaction = on_stop_signal;
  present.sa_flags |= SA_SIGINFO | SA_ONSTACK;
  return or_errno(sigaction(number, &present, NULL));
}

/* How long after a stop signal, also one that is there already, the process is ended at the latest. 0: not at all. */
static double set_watchdog(double ms, double unused) {
  (void)unused;
  double failed = make_timer();
  if (failed != 0) return failed;
  watchdog_ms = (int64_t)ms;
  if (arrived_at == 0) return 0;
  int64_t left = watchdog_ms - (now() - arrived_at);
  return or_errno(set_timer(watchdog_ms == 0 ? 0 : left > 0 ? left : 1));
}

/* JavaScript has begun a shutdown: the process is ended after so many milliseconds at the latest. 0: not at all. */
static double start_watchdog(double ms, double unused) {
  (void)unused;
  double failed = make_timer();
  if (failed != 0) return failed;
  __atomic_store_n(&started, 1, __ATOMIC_SEQ_CST);
  last_alive_at = now();
  return or_errno(set_timer((int64_t)ms));
}

/* The process lives on, and the next signal is a first one. */
static double stop_watchdog(double unused, double unused_too) {
  (void)unused, (void)unused_too;
  long stopped = set_timer(0);
  arrived_at = 0;
  steps[step][0] = '\0';
  __atomic_store_n(&started, 0, __ATOMIC_SEQ_CST);
  return or_errno(stopped);
}

/* For how long a noted stop signal has been there, in milliseconds; -ENOENT where none was noted. */
static double age_of_arrival(double unused, double unused_too) {
  (void)unused, (void)unused_too;
  return arrived_at == 0 ? -ENOENT : (double)(now() - arrived_at);
}

/* A terminal tells the whole process group of a Ctrl-C. */
static double is_from_terminal(double unused, double unused_too) {
  (void)unused, (void)unused_too;
  return came_from_terminal;
}

/* Whatever holds the process: it ends with this code after so many milliseconds. */
static double leave_after(double code, double ms) {
  double failed = make_timer();
  if (failed != 0) return failed;
  exit_code = (int)code & 0xff;
  return or_errno(set_timer(ms < 1 ? 1 : (int64_t)ms));
}

/* ---- sockets ---- */

/*
 * New connections are refused from now on, while those that are half made or wait to be accepted still come in: they belong to
 * the listener already, and it is the look-up for a new one that does not find it, bound as it is to an interface that does
 * not exist. Needs no privilege from Linux 5.7 on.
 */
static double refuse_new(double fd, double unused) {
  (void)unused;
  const int nowhere = INT32_MAX;
  return or_errno(setsockopt((int)fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof nowhere));
}

/*
 * Drops segments with SYN and without ACK: new connections hear nothing, and all that belongs to others comes in, also what
 * answers a SYN cookie, of which the listener knows nothing. Newer kernels want CAP_NET_ADMIN for it.
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

/* As long as the kernel allows: what was dropped because the queue was full comes in with its next retransmission. */
static double enlarge_queue(double fd, double unused) {
  (void)unused;
  return or_errno(listen((int)fd, INT32_MAX));
}

static long ask_listener(int fd, struct tcp_info *info) {
  socklen_t size = sizeof *info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size) == -1) return -errno;
  if (size < offsetof(struct tcp_info, tcpi_sacked) + sizeof info->tcpi_sacked) return -EOPNOTSUPP; /* an emulator */
  return info->tcpi_state == TCP_LISTEN ? 0 : -EINVAL;
}

/* How many connections wait to be accepted: for a listening socket the kernel gives that as tcpi_unacked. */
static double queue_length(double fd, double unused) {
  (void)unused;
  struct tcp_info info = {.tcpi_unacked = 0};
  long failed = ask_listener((int)fd, &info);
  return failed != 0 ? (double)failed : info.tcpi_unacked;
}

/* And how many may wait, which it gives as tcpi_sacked. As many again may be half made. */
static double queue_limit(double fd, double unused) {
  (void)unused;
  struct tcp_info info = {.tcpi_sacked = 0};
  long failed = ask_listener((int)fd, &info);
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

/* 1 for a TCP socket that listens. */
static double is_listening(double fd, double unused) {
  (void)unused;
  int listening = 0;
  socklen_t size = sizeof listening;
  if (getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == -1) return -errno;
  return listening && address_of((int)fd, &(address){.v6 = {0}}) == 0;
}

static long ask_for_sockets(int netlink, int family, uint16_t port, unsigned states,
                            long (*weigh)(const struct inet_diag_msg *)) {
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
      if (found->id.idiag_sport == port) sum += weigh(found);
    }
  }
}

/* Adds up the sockets of a port that are in one of the states, each with what `weigh` makes of it. */
static long add_up(int family, int port, unsigned states, long (*weigh)(const struct inet_diag_msg *)) {
  int netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (netlink == -1) return -errno;
  long sum = ask_for_sockets(netlink, family, (uint16_t)(port << 8 | port >> 8), states, weigh); /* in network order */
  close(netlink); /* nothing is lost with it, and EINTR closes too */
  return sum;
}

static long one(const struct inet_diag_msg *socket) {
  (void)socket;
  return 1;
}

/* Without the one that stands for the FIN: that was sent with the last of them. */
static long bytes_on_the_way(const struct inet_diag_msg *socket) {
  return socket->idiag_wqueue > 1 ? socket->idiag_wqueue - 1 : 0;
}

/*
 * How many connections to a listening socket are half made: the client has been answered, and its own last word is on the way.
 * They are of the listener's family, whatever the client's is.
 */
static double handshakes(double fd, double unused) {
  (void)unused;
  address local = {.v6 = {0}};
  long failed = address_of((int)fd, &local);
  if (failed != 0) return (double)failed;
  uint16_t port = local.v4.sin_port; /* where the other family has it too */
  return (double)add_up(local.any.sa_family, (port << 8 | port >> 8) & 0xffff, 1 << TCP_SYN_RECV, one);
}

/* How many bytes of data are on the way on connections that were closed here: the kernel has them, the client does not. */
static double undelivered(double port, double version) {
  const unsigned states = 1 << TCP_FIN_WAIT1 | 1 << TCP_CLOSING | 1 << TCP_LAST_ACK;
  return (double)add_up(version == 6 ? AF_INET6 : AF_INET, (int)port & 0xffff, states, bytes_on_the_way);
}

/* For how long no data has gone over a connection, in milliseconds, as the kernel has it; its own probes do not count. */
static double silent_ms(double fd, double unused) {
  (void)unused;
  struct tcp_info info = {.tcpi_last_data_sent = 0};
  socklen_t size = sizeof info;
  if (getsockopt((int)fd, IPPROTO_TCP, TCP_INFO, &info, &size) == -1) return -errno;
  if (size < offsetof(struct tcp_info, tcpi_last_data_recv) + sizeof info.tcpi_last_data_recv) return -EOPNOTSUPP;
  return info.tcpi_last_data_sent < info.tcpi_last_data_recv ? info.tcpi_last_data_sent : info.tcpi_last_data_recv;
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
    {"setWatchdog", set_watchdog},
    {"startWatchdog", start_watchdog},
    {"stopWatchdog", stop_watchdog},
    {"ageOfArrival", age_of_arrival},
    {"isFromTerminal", is_from_terminal},
    {"leaveAfter", leave_after},
    {"refuseNew", refuse_new},
    {"dropNew", drop_new},
    {"queueLimit", queue_limit},
    {"enlargeQueue", enlarge_queue},
    {"isListening", is_listening},
    {"queueLength", queue_length},
    {"handshakes", handshakes},
    {"silentMs", silent_ms},
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

/* The loop turns, and this is what it is at. */
static napi_value tell_step(napi_env env, napi_callback_info info) {
  napi_value argument = NULL;
  size_t count = 1, length = 0;
  int other = 1 - step;
  if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) != napi_ok) return NULL;
  if (napi_get_value_string_utf8(env, argument, steps[other], sizeof steps[other], &length) != napi_ok) return NULL;
  for (size_t i = 0; i < length; i++)
    if (steps[other][i] == '\n') steps[other][i] = ' ';
  last_alive_at = now();
  __atomic_store_n(&step, other, __ATOMIC_RELEASE);
  return NULL;
}

static int export(napi_env env, napi_value exports, const char *name, napi_callback callback, void *data) {
  napi_value function = NULL;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, data, &function) == napi_ok &&
         napi_set_named_property(env, exports, name, function) == napi_ok;
}

NAPI_MODULE_INIT() {
  int complete = export(env, exports, "tellStep", tell_step, NULL);
  for (size_t i = 0; complete && i < LENGTH(operations); i++)
    complete = export(env, exports, operations[i].name, run, (void *)&operations[i]);
  return complete ? exports : NULL;
}
