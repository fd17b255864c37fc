/* tests/waiting_server.h - a server, a thread of this program, that answers when the test lets it, one connection at a
 * time.  The file that includes this defines answer_request(). */
#ifndef TESTS_WAITING_SERVER_H
#define TESTS_WAITING_SERVER_H

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    int fd;
    unsigned port;
    pthread_t thread;
    sem_t may_answer;
} server;

struct answer {
    bool waits;         /* for `server.may_answer`, once */
    const char *status; /* "200 OK" unless it says otherwise */
    const char *body;
    sem_t *sent; /* told when it is; may be NULL */
};
/* Thread: the server's.  `head` is the head of the request, if all of it came. */
static struct answer answer_request(const char *head);

static inline void receive_head(int fd, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    while (length < size - 1 && !strstr(text, "\r\n\r\n")) {
        ssize_t got = recv(fd, text + length, size - 1 - length, 0);
        if (got <= 0)
            return;
        length += (size_t)got;
        text[length] = '\0';
    }
}

static inline void *serve(void *user_data)
{
    int fd;
    (void)user_data;
    while ((fd = accept(server.fd, NULL, NULL)) >= 0) {
        char text[4096];
        receive_head(fd, text, sizeof text);
        const struct answer answer = answer_request(text);
        if (answer.waits)
            while (sem_wait(&server.may_answer) != 0)
                ;
        int length = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                              answer.status ? answer.status : "200 OK", strlen(answer.body), answer.body);
        (void)!send(fd, text, (size_t)length, MSG_NOSIGNAL);
        close(fd);
        if (answer.sent)
            sem_post(answer.sent);
    }
    return NULL;
}

static inline void start_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    sem_init(&server.may_answer, 0, 0);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(server.fd, 0);
    ck_assert_int_eq(bind(server.fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(server.fd, 16), 0);
    ck_assert_int_eq(getsockname(server.fd, (struct sockaddr *)&address, &length), 0);
    server.port = ntohs(address.sin_port);
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

/* It lets go one that waits, and takes no more. */
static inline void stop_server(void)
{
    shutdown(server.fd, SHUT_RDWR);
    sem_post(&server.may_answer);
    pthread_join(server.thread, NULL);
    close(server.fd);
}

#endif
