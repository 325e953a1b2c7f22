// A load generator that takes as little as it can of the machine it shares with the server:
//   load PORT CONNECTIONS SECONDS PATH...   requests the paths in turn over kept connections and prints requests per second
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

struct connection { int socket; long left; size_t head; char text[4096]; };

static char buffer[1 << 20];

static void die(const char *what) { perror(what); exit(1); }

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void ask(struct connection *one, const char *path) {
    char request[1024];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
    if (send(one->socket, request, length, 0) != length) die("send");
    one->head = 0;
    one->left = -1;
}

// Takes what has come; whether the answer is complete.
static int take(struct connection *one) {
    if (one->left < 0) {
        ssize_t count = recv(one->socket, one->text + one->head, sizeof one->text - 1 - one->head, 0);
        if (count <= 0) die("recv");
        one->head += count;
        one->text[one->head] = 0;
        char *end = strstr(one->text, "\r\n\r\n"), *length = strcasestr(one->text, "\r\ncontent-length:");
        if (!end) return 0;
        if (strncmp(one->text, "HTTP/1.1 200", 12) || !length) { fputs(one->text, stderr); exit(1); }
        one->left = atol(length + 17) - (one->text + one->head - (end + 4));
    } else {
        ssize_t count = recv(one->socket, buffer, sizeof buffer, 0);
        if (count <= 0) die("recv");
        one->left -= count;
    }
    return one->left == 0;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    int number = atoi(argv[2]), paths = argc - 4, next = 0, poll = epoll_create1(0);
    long done = 0;
    struct connection *all = calloc(number, sizeof *all);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (int i = 0; i < number; i++) {
        all[i].socket = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(all[i].socket, (struct sockaddr *)&address, sizeof address)) die("connect");
        setsockopt(all[i].socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].socket, &event);
        ask(&all[i], argv[4 + next++ % paths]);
    }
    double start = now(), end = start + atof(argv[3]);
    while (now() < end) {
        struct epoll_event events[64];
        int count = epoll_wait(poll, events, 64, 1000);
        for (int i = 0; i < count; i++)
            if (take(events[i].data.ptr)) {
                done++;
                ask(events[i].data.ptr, argv[4 + next++ % paths]);
            }
    }
    printf("%.1f\n", done / (now() - start));
}
