// A network with latency: `relay ROUND_TRIP_MS` makes two network namespaces with a TUN device each, and passes every packet
// from one to the other after half the round trip, without dropping any. It prints `ready SERVER CLIENT`, the file descriptors
// under /proc/PID/fd by which the namespaces can be entered. The namespaces last until stdin ends.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND INT64_C(1000000)
#define SECOND (1000 * MILLISECOND)

enum { LONGEST = 1500, ROOM = 1 << 14 };

struct packet {
  int64_t due;
  int to;
  size_t length;
  char bytes[LONGEST];
};

// One queue for both directions: the delay is the same, so the packet that arrived first is due first.
static struct packet queue[ROOM];
static uint64_t came, gone;

static int check(ssize_t result, const char *what) {
  if (result < 0) err(1, "%s", what);
  return (int)result;
}

static void run(const char *command) {
  if (system(command) != 0) errx(1, "%s: failed", command);
}

/** Moves into a new namespace, and returns its device. */
static int make_namespace(int *namespace, const char *give_address) {
  check(unshare(CLONE_NEWNET), "unshare");
  *namespace = check(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "/proc/self/ns/net");
  const int device = check(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "/dev/net/tun");
  struct ifreq kind = {.ifr_name = "relay0", .ifr_flags = IFF_TUN | IFF_NO_PI};
  check(ioctl(device, TUNSETIFF, &kind), "TUNSETIFF");
  run(give_address);
  run("ip link set relay0 txqueuelen 16384 up");
  run("ip link set lo up");
  return device;
}

static int64_t now(void) {
  struct timespec time = {0};
  check(clock_gettime(CLOCK_MONOTONIC, &time), "clock_gettime");
  return time.tv_sec * SECOND + time.tv_nsec;
}

static void take_all(int from, int to, int64_t delay) {
  for (;;) {
    if (came - gone == ROOM) errx(1, "%d packets under way, and no room for more", ROOM);
    struct packet *packet = &queue[came % ROOM];
    const ssize_t length = read(from, packet->bytes, LONGEST);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0 && errno == EAGAIN) return;
    packet->length = (size_t)check(length, "read");
    packet->due = now() + delay;
    packet->to = to;
    came++;
  }
}

static void hand_over_due(void) {
  while (gone != came && queue[gone % ROOM].due <= now()) {
    const struct packet *packet = &queue[gone % ROOM];
    const ssize_t length = write(packet->to, packet->bytes, packet->length);
    if (length < 0 && errno == EINTR) continue;
    if ((size_t)check(length, "write") != packet->length) errx(1, "wrote a part of a packet");
    gone++;
  }
}

int main(int count, char **arguments) {
  if (count != 2) errx(64, "Usage: relay ROUND_TRIP_MS");
  const int64_t delay = strtol(arguments[1], NULL, 10) * MILLISECOND / 2;
  int server_namespace = -1, client_namespace = -1;
  const int server = make_namespace(&server_namespace, "ip address add 192.0.2.1/24 dev relay0");
  const int client = make_namespace(&client_namespace, "ip address add 192.0.2.2/24 dev relay0");
  if (printf("ready %d %d\n", server_namespace, client_namespace) < 0 || fflush(stdout) != 0) err(1, "stdout");
  for (;;) {
    const int64_t left = came == gone ? SECOND : queue[gone % ROOM].due - now();
    const struct timespec wait = {.tv_sec = left < 0 ? 0 : left / SECOND, .tv_nsec = left < 0 ? 0 : left % SECOND};
    struct pollfd ends[] = {{server, POLLIN, 0}, {client, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (ppoll(ends, 3, &wait, NULL) < 0 && errno != EINTR) err(1, "ppoll");
    if (ends[2].revents != 0) return 0;
    take_all(server, client, delay);
    take_all(client, server, delay);
    hand_over_due();
  }
}
