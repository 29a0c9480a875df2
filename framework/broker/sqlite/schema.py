"""The tables of the embedded broker and the stamp by which its files are known."""

__all__ = ["APPLICATION_ID", "DDL", "VERSION"]


#: "omst" in ASCII; SQLite keeps it in the file's header.
APPLICATION_ID = 0x6F6D7374

#: Raised with every change of the tables, so that an older library refuses a newer file.
VERSION = 1

# A message is ready while it has no holder; both states have an index of their own, so that a queue's head costs the
# same however long the queue is. Ids only ever grow (autoincrement): they are the order of a queue. A message expires
# at the head of its queue only, as on RabbitMQ: one that is late and waits behind others has its time negated.
# Whoever changes the file hands messages to consumers that have room; a consumer's process only reads what it was
# handed, in the order of ``turn``. The triggers see to it that ``held`` is what a consumer holds, however that goes.
DDL = (
    """create table topology (version integer not null)""",
    """insert into topology values (1)""",
    """create table exchange (
        name text primary key, type text not null, durable integer not null, auto_delete integer not null,
        internal integer not null, arguments text not null) without rowid""",
    """insert into exchange values
        ('', 'direct', 1, 0, 0, '{}'), ('amq.direct', 'direct', 1, 0, 0, '{}'),
        ('amq.fanout', 'fanout', 1, 0, 0, '{}'), ('amq.topic', 'topic', 1, 0, 0, '{}')""",
    """create table queue (
        id integer primary key autoincrement, name text not null unique, durable integer not null,
        exclusive integer not null, auto_delete integer not null, arguments text not null,
        owner integer, expires real)""",
    """create index queue_owner on queue (owner) where owner is not null""",
    """create index queue_expiring on queue (expires) where expires is not null""",
    """create table binding (
        source text not null, destination text not null, is_queue integer not null,
        routing_key text not null, arguments text not null,
        primary key (source, destination, is_queue, routing_key, arguments)) without rowid""",
    """create index binding_destination on binding (destination, is_queue)""",
    """create table message (
        id integer primary key autoincrement, queue integer not null, rank integer not null, exchange text not null,
        routing_key text not null, more_keys text, properties blob not null, body blob not null, expires real,
        holder integer, consumer integer, turn integer, returns integer not null default 0)""",
    """create index message_ready on message (queue, rank, id) where holder is null""",
    """create index message_held on message (holder, consumer, turn) where holder is not null""",
    """create index message_expiring on message (expires) where expires > 0 and holder is null""",
    """create index message_late on message (queue) where expires < 0 and holder is null""",
    """create table owner (id integer primary key autoincrement)""",
    """create table channel (
        id integer primary key autoincrement, owner integer not null, prefetch integer not null default 0,
        active integer not null default 1)""",
    """create table consumer (
        id integer primary key autoincrement, queue integer not null, owner integer not null, channel integer not null,
        priority integer not null, exclusive integer not null, prefetch integer not null, no_ack integer not null,
        held integer not null default 0, handed integer not null default 0, unread integer not null default 0,
        turn real not null default 0)""",
    """create index consumer_queue on consumer (queue)""",
    """create index consumer_owner on consumer (owner)""",
    """create index consumer_channel on consumer (channel)""",
    """create trigger message_returned after update of consumer on message when old.consumer is not null begin
        update consumer set held = held - 1 where id = old.consumer; end""",
    """create trigger message_done after delete on message when old.consumer is not null begin
        update consumer set held = held - 1 where id = old.consumer; end""",
)
