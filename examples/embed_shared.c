/* examples/embed_shared.c - two clients and a shared worker: cc embed_shared.c $(pkg-config --cflags --libs muster)
 *
 * Both connect to the same script by the same name, so there is one worker: it keeps what the first one said, and
 * tells it to the second.  It ends when both have let go of it.  Everything of muster's is called back in one thread,
 * this one, inside of muster_run_completions().  Usage: embed_shared file:///...SCRIPT */
#include <muster/muster.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>

struct guest {
    const char *name;
    struct muster_client *client;
    struct muster_port *port;
    int heard; /* messages */
    int gone;  /* its port is closed */
};

static void on_message(struct muster_port *port, const struct muster_message *message, void *user_data)
{
    struct guest *guest = user_data;
    struct muster_bytes text = muster_value_bytes(message->value);
    (void)port;
    printf("%s hears: %.*s\n", guest->name, (int)text.length, text.data);
    guest->heard++;
}

static void on_close(struct muster_port *port, const struct muster_error *error, void *user_data)
{
    struct guest *guest = user_data;
    (void)port;
    if (error)
        printf("%s has no worker: %s\n", guest->name, error->message);
    guest->gone = 1;
}

/* Runs callbacks until it has heard so much, or hears no more. */
static void listen(struct muster *muster, const struct guest *guest, int heard)
{
    struct pollfd news = { .fd = muster_completion_fd(muster), .events = POLLIN };
    while (guest->heard < heard && !guest->gone && poll(&news, 1, 10000) == 1)
        muster_run_completions(muster);
}

/* Its place among the clients, and its port to the worker. */
static enum muster_status arrive(struct muster *muster, struct guest *guest, const char *script)
{
    const struct muster_client_options page = { .size = sizeof page, .url = script };
    const struct muster_shared_worker_options worker = { .size = sizeof worker, .url = script, .name = "guest book" };
    enum muster_status status = muster_client_open(muster, &page, &guest->client);
    if (status == MUSTER_OK)
        status = muster_shared_worker_connect(guest->client, &worker, &guest->port);
    if (status == MUSTER_OK) {
        muster_port_set_handler(guest->port, on_message, on_close, guest);
        status = muster_port_post(guest->port, muster_value_new_text(guest->name), NULL, 0);
    }
    return status;
}

static void leave(struct guest *guest)
{
    muster_port_close(guest->port);
    muster_client_close(guest->client);
}

int main(int argc, char **argv)
{
    struct guest ada = { .name = "Ada" }, grace = { .name = "Grace" };
    const struct muster_options options = { .size = sizeof options, .delivery = MUSTER_DELIVER_ON_QUEUE };
    struct muster_error error = { 0 };
    struct muster *muster = NULL;
    if (argc != 2 || muster_new(&options, &muster, &error) != MUSTER_OK) {
        fprintf(stderr, "%s\n", argc != 2 ? "usage: embed_shared URL" : error.message);
        return 2;
    }
    enum muster_status status = arrive(muster, &ada, argv[1]);
    listen(muster, &ada, 1);
    if (status == MUSTER_OK)
        status = arrive(muster, &grace, argv[1]);
    listen(muster, &grace, 1); /* the same worker: it knows who came before */
    listen(muster, &ada, 2);   /* and tells her */
    leave(&ada);
    leave(&grace);
    muster_destroy(muster);
    return status == MUSTER_OK && ada.heard == 2 && grace.heard == 1 ? 0 : 1;
}
