/*
 * `pid1 run`: an init for a container, for a program in any language. It forwards signals, waits for orphans, gives what is
 * left the time of the grace period, and exits with the code of the program. See docs/run.md.
 *
 * A program of its own, linked with nothing: one file works with glibc and musl, and takes some 50 KB of memory. So it makes
 * its system calls itself. It allocates nothing, and has one thread and no signal handler: all signals are blocked, and
 * taken one after the other.
 */
#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define STRING(text) #text
#define VALUE_OF(macro) STRING(macro)

enum { STDERR = 2, SIGNALS = 65, MOST_PROCESSES = 16384, MOST_LINES = 20, LONGEST_TIME = 2147483647 };
enum { CANNOT_RUN = 126, NOT_FOUND = 127, WRONG_USAGE = 2, OF_SIGNAL = 128 };

/* ---- system calls ---- */

static long call(long number, long a, long b, long c, long d, long e) {
#if defined(__x86_64__)
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
#endif
}

static _Noreturn void leave(int code) {
  for (;;) call(__NR_exit_group, code, 0, 0, 0, 0);
}

static long send(int pid, int number) { return call(__NR_kill, pid, number, 0, 0, 0); }
static int own_pid(void) { return (int)call(__NR_getpid, 0, 0, 0, 0, 0); }
static long set_group(int pid, int group) { return call(__NR_setpgid, pid, group, 0, 0, 0); }
static int own_group(void) { return (int)call(__NR_getpgid, 0, 0, 0, 0, 0); }

static int64_t clock_ns(int clock) {
  struct timespec time = {0, 0};
  call(__NR_clock_gettime, clock, (long)&time, 0, 0, 0);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int64_t now(void) { return clock_ns(CLOCK_MONOTONIC) / 1000000; }

#ifndef HOSTED
/* gcc may call these two for what looks like a copy. */
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  for (size_t i = 0; i < size; i++) ((volatile char *)to)[i] = ((const char *)from)[i];
  return to;
}

void *memset(void *to, int byte, size_t size) {
  for (size_t i = 0; i < size; i++) ((volatile char *)to)[i] = (char)byte;
  return to;
}
#endif

/* ---- text ---- */

static size_t length_of(const char *text) {
  size_t length = 0;
  while (text[length] != '\0') length++;
  return length;
}

static char lower(char letter) { return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter; }
static int is_digit(char letter) { return letter >= '0' && letter <= '9'; }
static int is_space(char letter) { return letter == ' ' || (letter >= '\t' && letter <= '\r'); }

/* What comes after `start` in the text; NULL where it does not begin so. */
static const char *after(const char *text, const char *start) {
  for (; *start != '\0'; text++, start++)
    if (*text != *start) return NULL;
  return text;
}

static int is_same(const char *text, const char *other) {
  const char *rest = after(text, other);
  return rest != NULL && *rest == '\0';
}

/* A line for stderr: one write, so that lines of several processes do not mix. */
static char line[512];
static size_t line_length;

static void add(const char *text) {
  for (; *text != '\0' && line_length < sizeof line - 1; text++) {
    char letter = *text;
    /* A terminal acts on control characters. */
    line[line_length++] = (unsigned char)letter >= ' ' && letter != 127 ? letter : '?';
  }
}

static void add_number(int64_t number) {
  char digits[24];
  size_t at = sizeof digits - 1;
  digits[at] = '\0';
  int64_t rest = number < 0 ? -number : number;
  do {
    digits[--at] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  if (number < 0) digits[--at] = '-';
  add(&digits[at]);
}

static void begin_line(void) {
  line_length = 0;
  add("pid1 run: ");
}

static void end_line(void) {
  line[line_length++] = '\n';
  for (size_t at = 0; at < line_length;) {
    long written = call(__NR_write, STDERR, (long)&line[at], (long)(line_length - at), 0, 0);
    if (written == -EINTR) continue;
    if (written <= 0) return; /* the reader has gone, or is slow: an init must not wait for it */
    at += (size_t)written;
  }
}

/* ---- signals by their names ---- */

static const char *const names[] = {
    [SIGHUP] = "HUP",     [SIGINT] = "INT",       [SIGQUIT] = "QUIT", [SIGILL] = "ILL",   [SIGTRAP] = "TRAP",   [SIGABRT] = "ABRT",
    [SIGBUS] = "BUS",     [SIGFPE] = "FPE",       [SIGKILL] = "KILL", [SIGUSR1] = "USR1", [SIGSEGV] = "SEGV",   [SIGUSR2] = "USR2",
    [SIGPIPE] = "PIPE",   [SIGALRM] = "ALRM",     [SIGTERM] = "TERM", [16] = "STKFLT",    [SIGCHLD] = "CHLD",   [SIGCONT] = "CONT",
    [SIGSTOP] = "STOP",   [SIGTSTP] = "TSTP",     [SIGTTIN] = "TTIN", [SIGTTOU] = "TTOU", [SIGURG] = "URG",     [SIGXCPU] = "XCPU",
    [SIGXFSZ] = "XFSZ",   [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGWINCH] = "WINCH", [SIGIO] = "IO",     [SIGPWR] = "PWR",
    [SIGSYS] = "SYS",
};

static void add_signal(int number) {
  add("SIG");
  if (number > 0 && number < (int)LENGTH(names) && names[number] != NULL) add(names[number]);
  else add_number(number);
}

/* A signal by its name in any case, with or without SIG, or by its number. -1: there is none. 0 is "drop it". */
static int parse_signal(const char *text, size_t length) {
  int number = 0;
  size_t digits = 0;
  while (digits < length && is_digit(text[digits]) && digits < 3) number = number * 10 + (text[digits++] - '0');
  if (digits > 0) return digits == length && number < SIGNALS ? number : -1;
  if (length > 3 && lower(text[0]) == 's' && lower(text[1]) == 'i' && lower(text[2]) == 'g') text += 3, length -= 3;
  for (int each = 1; each < (int)LENGTH(names); each++) {
    size_t at = 0;
    if (names[each] == NULL) continue;
    while (at < length && lower(names[each][at]) == lower(text[at])) at++;
    if (at == length && names[each][at] == '\0') return each;
  }
  return -1;
}

static uint64_t bit(int number) { return (uint64_t)1 << (number - 1); }

/* The signals of a fault cannot be taken by another process, and SIGCHLD is sent to a parent. KILL and STOP cannot be caught. */
static int is_forwarded(int number) {
  static const int never[] = {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGCHLD, SIGKILL, SIGSTOP};
  for (size_t i = 0; i < LENGTH(never); i++)
    if (never[i] == number) return 0;
  return number > 0 && number < SIGNALS;
}

/* ---- options ---- */

static char **environment;
static int to_group, is_verbose, parent_death_signal, is_from_node;
static int64_t grace_ms = -1;
/* What each signal is sent as; 0: it is dropped. */
static int rewritten[SIGNALS];

static _Noreturn void refuse(const char *what, const char *expected, const char *given) {
  begin_line();
  add("Expected "), add(what), add(" to be "), add(expected);
  if (given != NULL) add(", got \""), add(given), add("\"");
  end_line();
  leave(WRONG_USAGE);
}

static const char *variable(const char *name) {
  for (char **each = environment; *each != NULL; each++) {
    const char *rest = after(*each, name);
    if (rest != NULL && *rest == '=') return rest + 1;
  }
  return NULL;
}

/* A decimal number, times `unit`; -1 where there is none, or where it is too large. Moves `text` behind it. */
static int64_t parse_number(const char **text, int64_t unit) {
  int64_t whole = 0, fraction = 0, scale = 1;
  const char *at = *text;
  if (!is_digit(*at)) return -1;
  for (; is_digit(*at); at++)
    if ((whole = whole * 10 + (*at - '0')) > LONGEST_TIME) return -1;
  if (*at == '.' && is_digit(at[1]))
    for (at++; is_digit(*at); at++)
      if (scale < 1000000) fraction = fraction * 10 + (*at - '0'), scale *= 10;
  *text = at;
  int64_t value = whole * unit + fraction * unit / scale;
  return value > LONGEST_TIME ? -1 : value;
}

/* "10s", "1500ms", "2m" or "0", as `parseTime` in src/options.ts reads it. */
static int64_t parse_time(const char *what, const char *given) {
  static const char expected[] = "a time such as \"10s\", \"1500ms\" or \"2m\"";
  const char *text = given, *unit = given;
  while (is_space(*text)) text++;
  unit = text;
  if (parse_number(&unit, 1) == -1) refuse(what, expected, given);
  while (is_space(*unit)) unit++;
  char first = lower(unit[0]), second = first == '\0' ? '\0' : lower(unit[1]);
  int64_t factor = first == 'm' && second == 's' ? 1 : first == 's' ? 1000 : first == 'm' ? 60000 : 0;
  const char *rest = unit + (factor == 0 ? 0 : factor == 1 ? 2 : 1);
  while (is_space(*rest)) rest++;
  if (*rest != '\0') refuse(what, expected, given);
  int64_t value = parse_number(&text, factor == 0 ? 1 : factor);
  if (value == -1) refuse(what, expected, given);
  if (factor == 0 && value != 0) refuse(what, "a time with a unit, such as \"10s\" or \"1500ms\"", given);
  return value;
}

/* What src/platform/platform-table.ts has; a test compares the two. */
static const struct {
  const char *variables[3];
  /* Not where all of these are set. */
  const char *without[2];
  int64_t grace_ms;
  /* A variable that holds the time, and its unit in milliseconds. */
  const char *time;
  int64_t unit;
} platforms[] = {
    {{"K_SERVICE", "K_REVISION", "KUBERNETES_SERVICE_HOST"}, {NULL, NULL}, 300000, NULL, 0},
    {{"KUBERNETES_SERVICE_HOST", NULL, NULL}, {"K_SERVICE", "K_REVISION"}, 30000, NULL, 0},
    {{"K_SERVICE", NULL, NULL}, {"KUBERNETES_SERVICE_HOST", NULL}, 10000, NULL, 0},
    {{"ECS_CONTAINER_METADATA_URI_V4", NULL, NULL}, {NULL, NULL}, 30000, NULL, 0},
    {{"CONTAINER_APP_NAME", NULL, NULL}, {NULL, NULL}, 30000, NULL, 0},
    {{"WEBSITE_SITE_NAME", NULL, NULL}, {NULL, NULL}, 5000, NULL, 0},
    {{"FLY_APP_NAME", NULL, NULL}, {NULL, NULL}, 5000, NULL, 0},
    {{"DYNO", NULL, NULL}, {NULL, NULL}, 30000, NULL, 0},
    {{"RENDER", NULL, NULL}, {NULL, NULL}, 30000, NULL, 0},
    {{"RAILWAY_PROJECT_ID", NULL, NULL}, {NULL, NULL}, 0, "RAILWAY_DEPLOYMENT_DRAINING_SECONDS", 1000},
    {{"NOMAD_ALLOC_ID", NULL, NULL}, {NULL, NULL}, 5000, NULL, 0},
    {{"pm_id", NULL, NULL}, {NULL, NULL}, 1600, "kill_timeout", 1},
    {{"SUPERVISOR_ENABLED", NULL, NULL}, {NULL, NULL}, 10000, NULL, 0},
    {{"AWS_LAMBDA_FUNCTION_NAME", NULL, NULL}, {NULL, NULL}, 300, NULL, 0},
    {{"GITHUB_ACTIONS", NULL, NULL}, {NULL, NULL}, 2500, NULL, 0},
};

static int has_all(const char *const *wanted, size_t most) {
  size_t count = 0;
  for (; count < most && wanted[count] != NULL; count++) {
    const char *value = variable(wanted[count]);
    if (value == NULL || *value == '\0') return 0;
  }
  return count > 0;
}

/* systemd names the process that it has started, which may be the shell in front of this one. */
static int is_of_systemd(void) {
  const char *text = variable("SYSTEMD_EXEC_PID");
  int64_t pid = text == NULL ? -1 : parse_number(&text, 1);
  return pid != -1 && *text == '\0' && (pid == own_pid() || pid == call(__NR_getppid, 0, 0, 0, 0, 0));
}

/* The shortest of those that match, because too short is safe. */
static int64_t usual_grace_ms(void) {
  int64_t shortest = -1;
  for (size_t i = 0; i < LENGTH(platforms); i++) {
    if (!has_all(platforms[i].variables, 3) || has_all(platforms[i].without, 2)) continue;
    int64_t ms = platforms[i].grace_ms;
    const char *text = platforms[i].time == NULL ? NULL : variable(platforms[i].time);
    if (text != NULL) {
      int64_t given = parse_number(&text, platforms[i].unit);
      if (given != -1 && *text == '\0') ms = given;
    }
    if (shortest == -1 || ms < shortest) shortest = ms;
  }
  if (is_of_systemd() && (shortest == -1 || shortest > 45000)) shortest = 45000;
  return shortest == -1 ? 10000 : shortest;
}

static int64_t grace_of_environment(void) {
  const char *text = variable("PID1_GRACE_PERIOD");
  if (text != NULL)
    for (const char *at = text; *at != '\0'; at++)
      if (!is_space(*at)) return parse_time("PID1_GRACE_PERIOD", text);
  return usual_grace_ms();
}

static void add_rewrite(const char *text) {
  static const char expected[] = "two signals, such as \"TERM=QUIT\", or \"HUP=0\" to drop one";
  size_t split = 0;
  while (text[split] != '=' && text[split] != '\0') split++;
  if (text[split] == '\0') refuse("--rewrite", expected, text);
  int from = parse_signal(text, split), to = parse_signal(&text[split + 1], length_of(&text[split + 1]));
  if (!is_forwarded(from) || to == -1) refuse("--rewrite", expected, text);
  if (to == SIGSTOP || to == SIGCHLD) refuse("--rewrite", expected, text);
  rewritten[from] = to;
}

static const char usage[] =
    "Usage: pid1 run [options] [--] command [argument ...]\n"
    "\n"
    "  --grace TIME        the time between the stop signal and the platform's SIGKILL: 10s, 1500ms, 2m\n"
    "  --group             send signals to the process group of the command, not to the command alone\n"
    "  --rewrite FROM=TO   send one signal as another one; TO 0 drops it; may be repeated\n"
    "  --pdeathsig SIGNAL  the signal that counts as sent when the parent of this process dies\n"
    "  --verbose           print each step on stderr\n"
    "  --help              print this\n";

/* The value of an option that is `--name value` or `--name=value`; NULL where this is another option. */
static const char *value_of(char ***at, const char *name) {
  const char *rest = after(**at, name);
  if (rest == NULL || (*rest != '=' && *rest != '\0')) return NULL;
  if (*rest == '=') return rest + 1;
  if ((*at)[1] == NULL) refuse(name, "followed by a value", NULL);
  (*at)++;
  return **at;
}

/* Returns where the command begins. */
static char **parse_options(char **at) {
  for (int each = 0; each < SIGNALS; each++) rewritten[each] = each;
  for (; *at != NULL && (*at)[0] == '-'; at++) {
    const char *value = NULL;
    if (is_same(*at, "--")) {
      at++;
      break;
    }
    if (is_same(*at, "--group")) to_group = 1;
    else if (is_same(*at, "--verbose")) is_verbose = 1;
    else if (is_same(*at, "--help")) {
      call(__NR_write, 1, (long)usage, sizeof usage - 1, 0, 0);
      leave(0);
    } else if ((value = value_of(&at, "--grace")) != NULL) grace_ms = parse_time("--grace", value);
    else if ((value = value_of(&at, "--rewrite")) != NULL) add_rewrite(value);
    else if ((value = value_of(&at, "--pdeathsig")) != NULL) {
      parent_death_signal = parse_signal(value, length_of(value));
      if (parent_death_signal < 1) refuse("--pdeathsig", "a signal, such as \"TERM\"", value);
    } else if (is_same(*at, "--from-node")) {
      is_from_node = 1; /* native/pid1.c: all signals are blocked for the exec, and Node ignores SIGPIPE */
    } else {
      refuse("each option", "among --grace, --group, --rewrite, --pdeathsig, --verbose and --help", *at);
    }
  }
  if (*at == NULL) refuse("the options", "followed by a command, such as `pid1 run -- node server.js`", NULL);
  if (grace_ms == -1) grace_ms = grace_of_environment();
  return at;
}

/* ---- processes ---- */

struct process {
  int pid, parent, group;
  char state, is_descendant;
  /* When it has started, in clock ticks since the machine has started: it tells a process from an earlier one of the same pid. */
  uint64_t started;
  char name[16];
};

static struct process processes[MOST_PROCESSES];
static size_t process_count;

/* What was asked to end, and when. */
static struct asked {
  int pid, is_own_child;
  uint64_t started, at;
} asked[MOST_PROCESSES];
static size_t asked_count;

static uint64_t ticks_now(void) { return (uint64_t)(clock_ns(CLOCK_BOOTTIME) / 10000000); }

static long open_file(const char *path, int flags) {
  return call(__NR_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, 0, 0);
}

static void close_file(long file) { call(__NR_close, file, 0, 0, 0, 0); }

static const char *number_in(const char *text, int64_t *number) {
  int is_negative = *text == '-';
  if (is_negative) text++;
  for (*number = 0; is_digit(*text); text++) *number = *number * 10 + (*text - '0');
  if (is_negative) *number = -*number;
  while (*text == ' ') text++;
  return text;
}

/* Whether /proc belongs to the namespace of this process. */
static int has_proc(void) {
  char target[16] = {0};
  long length = call(__NR_readlinkat, AT_FDCWD, (long)"/proc/self", (long)target, sizeof target - 1, 0);
  int64_t pid = 0;
  return length > 0 && *number_in(target, &pid) == '\0' && pid == own_pid();
}

/* Its name stands in parentheses, and may contain some. Returns 0 where the process has ended. */
static int read_process(int pid, struct process *found) {
  char path[32], text[512];
  size_t at = 0;
  line_length = 0, add("/proc/"), add_number(pid), add("/stat");
  for (; at < line_length; at++) path[at] = line[at];
  path[at] = '\0';
  long file = open_file(path, O_RDONLY);
  if (file < 0) return 0;
  long length = call(__NR_read, file, (long)text, sizeof text - 1, 0, 0);
  close_file(file);
  if (length <= 0) return 0;
  text[length] = '\0';
  size_t open = 0, end = 0;
  for (at = 0; text[at] != '\0'; at++) {
    if (text[at] == '(' && open == 0) open = at + 1;
    if (text[at] == ')') end = at;
  }
  if (open == 0 || end < open || end + 4 > (size_t)length) return 0;
  for (at = 0; at < sizeof found->name - 1 && open + at < end; at++) found->name[at] = text[open + at];
  found->name[at] = '\0';
  found->pid = pid, found->state = text[end + 2], found->is_descendant = 0;
  int64_t number = 0;
  const char *rest = number_in(&text[end + 4], &number);
  found->parent = (int)number;
  rest = number_in(rest, &number);
  found->group = (int)number;
  for (int field = 6; field <= 22; field++) rest = number_in(rest, &number);
  found->started = (uint64_t)number;
  return 1;
}

struct entry {
  uint64_t inode, offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

/* Finds the descendants. What has entered the container from outside has another parent. Returns 0 without a readable /proc. */
static int find_descendants(void) {
  static char buffer[16384] __attribute__((aligned(8)));
  process_count = 0;
  long folder = has_proc() ? open_file("/proc", O_RDONLY | O_DIRECTORY) : -1;
  if (folder < 0) return 0;
  for (;;) {
    long length = call(__NR_getdents64, folder, (long)buffer, sizeof buffer, 0, 0);
    if (length <= 0) break;
    for (long at = 0; at < length;) {
      const struct entry *each = (const struct entry *)(const void *)&buffer[at];
      int64_t pid = 0;
      if (is_digit(each->name[0]) && *number_in(each->name, &pid) == '\0' && process_count < MOST_PROCESSES &&
          read_process((int)pid, &processes[process_count]))
        process_count++;
      at += each->length;
    }
  }
  close_file(folder);
  int own = own_pid();
  for (int has_changed = 1; has_changed;) {
    has_changed = 0;
    for (size_t i = 0; i < process_count; i++) {
      if (processes[i].is_descendant) continue;
      int is_one = processes[i].parent == own;
      for (size_t j = 0; j < process_count && !is_one; j++)
        is_one = processes[j].is_descendant && processes[j].pid == processes[i].parent;
      if (is_one) processes[i].is_descendant = 1, has_changed = 1;
    }
  }
  return 1;
}

static struct asked *find_asked(int pid, uint64_t started) {
  for (size_t i = 0; i < asked_count; i++)
    if (asked[i].pid == pid && (started == 0 || asked[i].started == started)) return &asked[i];
  return NULL;
}

/* ---- the command ---- */

static int child, is_pid1, terminal = -1;
/* Its wait status, once it has ended. */
static int has_ended, child_status;
/* The signals that were sent to it, and when its group got a stop signal; 0: not. */
static uint64_t sent, group_asked_at;
/* The one descendant that was this process's own child after the command had ended, and has ended then. */
static int later_count, later_status;

struct action {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  uint64_t mask;
};

static void set_action(int number, void (*handler)(int), struct action *before) {
  struct action wanted = {.handler = handler, .flags = 0, .restorer = NULL, .mask = 0};
  call(__NR_rt_sigaction, number, (long)&wanted, (long)before, sizeof(uint64_t), 0);
}

static void set_mask(uint64_t mask, uint64_t *before) {
  call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&mask, (long)before, sizeof mask, 0);
}

/* The group that has the terminal; -1 where this is none. */
static int foreground_of(int file) {
  int group = -1;
  return call(__NR_ioctl, file, TIOCGPGRP, (long)&group, 0, 0) == 0 ? group : -1;
}

static void give_terminal(int group) {
  if (terminal != -1) call(__NR_ioctl, terminal, TIOCSPGRP, (long)&group, 0, 0);
}

/* The number of systemd's LISTEN_PID is that of the process which gets the sockets. */
static void pass_sockets_on(int parent) {
  static char text[32] = "LISTEN_PID=";
  for (char **each = environment; *each != NULL; each++) {
    const char *value = after(*each, "LISTEN_PID=");
    int64_t pid = 0;
    if (value == NULL || *number_in(value, &pid) != '\0' || pid != parent) continue;
    line_length = 0, add_number(own_pid());
    for (size_t i = 0; i < line_length; i++) text[11 + i] = line[i];
    *each = text;
  }
}

static int exists(const char *path) { return call(__NR_faccessat, AT_FDCWD, (long)path, 0, 0, 0) == 0; }

/* A script without a first line that names its interpreter is one of the shell, as everywhere. */
static long execute(const char *path, char **arguments) {
  long failed = call(__NR_execve, (long)path, (long)arguments, (long)environment, 0, 0);
  if (failed != -ENOEXEC) return failed;
  size_t count = 0;
  while (arguments[count] != NULL) count++;
  char *with_shell[count + 2];
  with_shell[0] = "/bin/sh";
  with_shell[1] = (char *)(uintptr_t)path;
  for (size_t i = 1; i <= count; i++) with_shell[i + 1] = arguments[i];
  return call(__NR_execve, (long)"/bin/sh", (long)with_shell, (long)environment, 0, 0);
}

/* Searches PATH where the name has no slash. Returns only if it cannot be started. */
static long search(char **arguments) {
  const char *name = arguments[0], *path = variable("PATH");
  long failed = -ENOENT;
  static char full[4096];
  for (const char *at = name; *at != '\0'; at++)
    if (*at == '/') return execute(name, arguments);
  if (*name == '\0') return -ENOENT;
  if (path == NULL) path = "/usr/local/bin:/usr/bin:/bin";
  for (;;) {
    size_t length = 0;
    while (path[length] != ':' && path[length] != '\0') length++;
    if (length + length_of(name) + 2 < sizeof full) {
      size_t at = 0;
      for (; at < length; at++) full[at] = path[at];
      if (length > 0) full[at++] = '/';
      for (const char *letter = name; *letter != '\0'; letter++) full[at++] = *letter;
      full[at] = '\0';
      long result = execute(full, arguments);
      /* Something that may not be run does not hide what comes later in PATH, but is the reason where nothing comes. */
      if (result != -ENOENT && result != -ENOTDIR && failed == -ENOENT) failed = result;
      if (result == -ENOENT && exists(full)) return result;
      if (result != -ENOENT && result != -ENOTDIR && result != -EACCES) return result;
    }
    if (path[length] == '\0') return failed;
    path += length + 1;
  }
}

static _Noreturn void run_command(char **arguments, uint64_t mask, const struct action *of_child, int takes_terminal) {
  set_group(0, 0);
  if (takes_terminal) give_terminal(own_pid());
  pass_sockets_on((int)call(__NR_getppid, 0, 0, 0, 0, 0));
  call(__NR_rt_sigaction, SIGCHLD, (long)of_child, 0, sizeof(uint64_t), 0);
  set_mask(mask, NULL);
  long failed = search(arguments);
  int is_missing = failed == -ENOENT || failed == -ENOTDIR;
  begin_line();
  add("cannot start \""), add(arguments[0]), add("\": ");
  if (is_missing) add(exists(arguments[0]) ? "its interpreter was not found" : "it was not found");
  else if (failed == -EACCES) add("it is not a file that may be executed");
  else if (failed == -E2BIG) add("its arguments and variables are too long");
  else add("error "), add_number(-failed);
  end_line();
  leave(is_missing ? NOT_FOUND : CANNOT_RUN);
}

/* ---- the stop ---- */

/* When it has begun, when what is left is asked to end, and when it is killed; 0: not yet. */
static int64_t began_at, last_call_at, ends_at, next_scan_at;

static void begin_stop(void) {
  if (began_at != 0) return;
  /* The same margin as in src/time/deadline.ts, of which an app that uses pid1 keeps all, and its watchdog a half. */
  int64_t margin = grace_ms / 10;
  if (margin < 250) margin = 250;
  if (margin > 2000) margin = 2000;
  if (margin > grace_ms / 2) margin = grace_ms / 2;
  int64_t whole = grace_ms - margin / 4, late = whole / 4 < 2000 ? whole / 4 : 2000;
  began_at = now();
  ends_at = began_at + whole;
  last_call_at = ends_at - late;
  if (is_verbose) begin_line(), add("the stop begins; it ends within "), add_number(whole), add(" ms"), end_line();
}

static void ask(const struct process *each) {
  int number = rewritten[SIGTERM] == 0 ? SIGTERM : rewritten[SIGTERM];
  if (asked_count == MOST_PROCESSES) return;
  int had_it = to_group && group_asked_at != 0 && each->group == child && each->started <= group_asked_at;
  asked[asked_count++] =
      (struct asked){.pid = each->pid, .is_own_child = each->parent == own_pid(), .started = each->started, .at = ticks_now()};
  if (had_it) return;
  if (is_verbose)
    begin_line(), add_signal(number), add(" to \""), add(each->name), add("\" (pid "), add_number(each->pid), add(")"), end_line();
  send(each->pid, number);
  /* A stopped process does not handle the other signal. */
  if (each->state == 'T') send(each->pid, SIGCONT);
}

/*
 * Asks every descendant to end that was not asked before. What a process has started after it was asked is a part of its
 * clean-up, and is left to it.
 */
static void ask_descendants(void) {
  int64_t started_at = now();
  if (!find_descendants()) {
    /* Without /proc descendants are not known. As PID 1: all that this process may signal. */
    if (is_pid1 && asked_count == 0) send(-1, SIGTERM), asked_count = 1;
    next_scan_at = INT64_MAX;
    return;
  }
  for (size_t i = 0; i < process_count; i++) {
    const struct process *each = &processes[i];
    if (!each->is_descendant || each->state == 'Z' || each->state == 'X') continue;
    if ((!has_ended && each->pid == child) || find_asked(each->pid, each->started) != NULL) continue;
    const struct asked *parent = find_asked(each->parent, 0);
    if (parent != NULL && each->started > parent->at && now() < last_call_at) continue;
    ask(each);
  }
  int64_t took = now() - started_at;
  /* Looking takes at most a twentieth of the time. */
  next_scan_at = now() + (took < 1 ? 20 : 20 * took);
}

/* Each process has one line, although it may take a moment to die. */
static int is_first_kill(const struct process *each) {
  static struct {
    int pid;
    uint64_t started;
  } killed[MOST_LINES];
  static size_t count;
  for (size_t i = 0; i < count; i++)
    if (killed[i].pid == each->pid && killed[i].started == each->started) return 0;
  if (count == MOST_LINES) return 0;
  killed[count].pid = each->pid, killed[count++].started = each->started;
  return 1;
}

static void kill_all(void) {
  static int lines;
  int64_t ms = now() - began_at;
  if (!find_descendants()) {
    if (lines++ == 0) begin_line(), add("killed what did not end within "), add_number(ms), add(" ms"), end_line();
    if (is_pid1) send(-1, SIGKILL);
    else if (!has_ended) send(-child, SIGKILL), send(child, SIGKILL);
    return;
  }
  for (size_t i = 0; i < process_count; i++) {
    const struct process *each = &processes[i];
    if (!each->is_descendant || each->state == 'Z' || each->state == 'X') continue;
    if (send(each->pid, SIGKILL) != 0 || !is_first_kill(each)) continue;
    begin_line();
    add("killed \""), add(each->name), add("\" (pid "), add_number(each->pid), add("), which did not end within "), add_number(ms), add(" ms");
    end_line();
  }
}

static int code_of(int status) { return WIFSIGNALED(status) ? OF_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status); }

static _Noreturn void finish(void) {
  int code = code_of(child_status);
  int was_forwarded = WIFSIGNALED(child_status) && (sent & bit(WTERMSIG(child_status))) != 0;
  /* A shell in front dies of the signal, and the app behind it is what counts. */
  if (was_forwarded && later_count == 1) code = code_of(later_status);
  if (terminal != -1 && foreground_of(terminal) == child) give_terminal(own_group());
  if (is_verbose) begin_line(), add("ends with "), add_number(code), end_line();
  leave(code);
}

/* The shell that has started this process gets the terminal back, and can continue both. PID 1 has no such shell. */
static void stop_with_child(int number) {
  if (is_pid1 || number == SIGSTOP) return;
  int had_terminal = terminal != -1 && foreground_of(terminal) == child;
  if (had_terminal) give_terminal(own_group());
  uint64_t mask = 0;
  set_action(number, SIG_DFL, NULL);
  set_mask(~bit(number), &mask);
  send(own_pid(), number);
  set_mask(mask, NULL);
}

static void on_ended(int pid, int status) {
  if (is_verbose)
    begin_line(), add("pid "), add_number(pid), add(" has ended with "), add_number(code_of(status)), end_line();
  if (pid == child) {
    has_ended = 1, child_status = status;
    begin_stop();
    next_scan_at = now();
    return;
  }
  const struct asked *known = has_ended ? find_asked(pid, 0) : NULL;
  if (known != NULL && known->is_own_child) later_count++, later_status = status;
}

/* Waits for all that have ended. Returns 0 when no child is left. */
static int reap(void) {
  for (;;) {
    int status = 0;
    long pid = call(__NR_wait4, -1, (long)&status, WNOHANG | WUNTRACED, 0, 0);
    if (pid == -EINTR) continue;
    if (pid <= 0) return pid != -ECHILD;
    if (!WIFSTOPPED(status)) on_ended((int)pid, status);
    else if (pid == child) stop_with_child(WSTOPSIG(status));
  }
}

static void forward(int number, const siginfo_t *info) {
  if (has_ended || !is_forwarded(number)) return;
  int as = rewritten[number];
  if (is_verbose) begin_line(), add_signal(number), add(as == 0 ? " is dropped" : " is forwarded as "), as == 0 ? (void)0 : add_signal(as), end_line();
  if (as == 0) return;
  int is_of_terminal = info->si_code == SI_KERNEL && (number == SIGINT || number == SIGQUIT);
  int stops = (number == SIGTERM || number == SIGQUIT || number == SIGPWR || number == SIGINT) && !is_of_terminal;
  if (number == SIGCONT && terminal != -1 && foreground_of(terminal) == own_group()) give_terminal(child);
  sent |= bit(as);
  if (to_group && stops && group_asked_at == 0) group_asked_at = ticks_now();
  /* What Ctrl-Z has stopped is the whole group. */
  if (to_group || number == SIGCONT) send(-child, as);
  else send(child, as);
  if (stops) begin_stop();
}

static int64_t soonest(int64_t one, int64_t other) { return one < other ? one : other; }

static _Noreturn void wait_for_all(void) {
  const uint64_t taken = ~(bit(SIGILL) | bit(SIGTRAP) | bit(SIGABRT) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGSEGV) | bit(SIGSYS));
  int is_last_call = 0;
  for (;;) {
    if (!reap() && has_ended) finish();
    int64_t time = now(), wakes_at = INT64_MAX;
    if (began_at != 0) {
      if (time >= ends_at) {
        kill_all();
        /* What hangs in the kernel cannot be waited for, not even the command. */
        if (time >= ends_at + (grace_ms < 2000 ? 100 : 250)) {
          if (!has_ended) child_status = SIGKILL;
          finish();
        }
        wakes_at = time + 10;
      } else {
        is_last_call |= time >= last_call_at;
        if ((has_ended || is_last_call) && time >= next_scan_at) ask_descendants();
        wakes_at = soonest(ends_at, has_ended || is_last_call ? next_scan_at : last_call_at);
      }
    }
    time = now();
    int64_t ms = wakes_at > time ? wakes_at - time : 0;
    struct timespec wait = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    siginfo_t info;
    long number =
        call(__NR_rt_sigtimedwait, (long)&taken, (long)&info, wakes_at == INT64_MAX ? 0 : (long)&wait, sizeof taken, 0);
    if (number > 0) forward((int)number, &info);
  }
}

/* A terminal is handed on only by the one who has it: this process may have been started in the background. */
static int find_terminal(void) {
  for (int file = 0; file <= STDERR; file++) {
    int group = foreground_of(file);
    if (group == -1) continue;
    terminal = file;
    return group == own_group();
  }
  return 0;
}

static _Noreturn void start(int count, char **arguments, char **variables) {
  uint64_t mask = 0;
  struct action of_child = {0};
  environment = variables;
  set_mask(~(uint64_t)0, &mask);
  char **command = parse_options(count == 0 ? arguments : arguments + 1);
  is_pid1 = own_pid() == 1;
  /* With SIGCHLD ignored, which the parent may have left so, the kernel would throw the statuses away. */
  set_action(SIGCHLD, SIG_DFL, &of_child);
  if (is_from_node) {
    mask = 0;
    set_action(SIGPIPE, SIG_DFL, NULL);
    set_action(SIGXFSZ, SIG_DFL, NULL);
  }
  if (!is_pid1) call(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  if (parent_death_signal != 0) call(__NR_prctl, PR_SET_PDEATHSIG, parent_death_signal, 0, 0, 0);
  int takes_terminal = find_terminal();
  long pid = call(__NR_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) run_command(command, mask, &of_child, takes_terminal);
  if (pid < 0) {
    begin_line(), add("cannot start a process: error "), add_number(-pid), end_line();
    leave(CANNOT_RUN);
  }
  child = (int)pid;
  set_group(child, child); /* here as well, because it must be known before the first signal is sent to it */
  if (is_verbose) begin_line(), add("has started \""), add(command[0]), add("\" (pid "), add_number(child), add(")"), end_line();
  wait_for_all();
}

/* The kernel puts the number of arguments on top of the stack, and the arguments and the variables below. */
_Noreturn __attribute__((used)) void start_from(long *stack) {
  start((int)stack[0], (char **)(stack + 1), (char **)(stack + 2 + stack[0]));
}

#ifdef HOSTED
/* For the sanitizers, which need a C library. */
int main(int count, char **arguments, char **variables) { start(count, arguments, variables); }
#elif defined(__x86_64__)
__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call start_from\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n  mov x29, #0\n  mov x0, sp\n  bl start_from\n");
#endif
