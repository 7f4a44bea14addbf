/*
 * A process of a random tree: `actor SEED DEPTH`. From the seed follow how long it lives, what it does at SIGTERM, and its
 * children. The first one prints its plan: `dies|exits CODE|ignores`, and `for MS CODE` or `for ever`.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

static unsigned below(unsigned limit) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(state >> 33) % limit;
}

static void rest(unsigned ms) {
  struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};
  while (nanosleep(&left, &left) == -1) {}
}

static int exit_code;
static unsigned goodbye_ms, helper;

/* Some start a helper for their clean-up, which must not be told to end. */
static void on_term(int number) {
  (void)number;
  if (helper && fork() == 0) {
    signal(SIGTERM, SIG_DFL);
    rest(goodbye_ms / 2);
    _exit(0);
  }
  rest(goodbye_ms);
  _exit(exit_code);
}

int main(int count, char **arguments) {
  if (count < 3) return 2;
  uint64_t seed = strtoull(arguments[1], NULL, 10);
  int depth = atoi(arguments[2]), is_first = count == 3;
  state = seed * 2654435761u + 12345;
  for (int i = 0; i < 5; i++) (void)below(2);
  unsigned way = below(10), life = below(3) == 0 ? 0 : below(400), code = below(256);
  exit_code = (int)below(256), goodbye_ms = below(5) == 0 ? 200 : below(30), helper = below(3) == 0;
  if (way >= 9) signal(SIGTERM, SIG_IGN);
  else if (way >= 5) signal(SIGTERM, on_term);
  else signal(SIGTERM, SIG_DFL);
  if (is_first) {
    if (way >= 9) printf("ignores");
    else if (way >= 5) printf("exits %d", exit_code);
    else printf("dies");
    if (life == 0) printf(" for ever\n");
    else printf(" for %u %u\n", life, code);
    fflush(stdout);
  }
  for (unsigned children = depth > 0 ? below(4) : 0; children > 0; children--) {
    unsigned how = below(4);
    char text[32], level[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed * 7 + children);
    snprintf(level, sizeof level, "%d", depth - 1);
    if (fork() != 0) continue;
    if (how == 1) setsid();
    if (how == 2) setpgid(0, 0);
    if (how == 3 && fork() != 0) _exit(0); /* an orphan */
    execl(arguments[0], arguments[0], text, level, "inner", (char *)NULL);
    _exit(99);
  }
  if (below(2) == 0) signal(SIGCHLD, SIG_IGN); /* some leave zombies */
  if (life == 0)
    for (;;) rest(1000);
  rest(life);
  return (int)code;
}
