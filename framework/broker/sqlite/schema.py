"""The tables of the embedded broker, and the application id and version of its files."""

__all__ = ["APPLICATION_ID", "DDL", "VERSION"]


#: "omst" in ASCII; SQLite stores it in the file's header.
APPLICATION_ID = 0x6F6D7374

#: Increased with every change of the tables, so that an older library refuses a newer file.
VERSION = 2

# A message is ready while it has no holder; each of the two states has its own index, so that reading a queue's head
# takes the same time at any length. Ids only grow (autoincrement): they are the order of a queue. A message expires
# at the head of its queue only, as in RabbitMQ: an expired one that waits behind others has its time negated.
# The process that changes the file dispatches messages to ready consumers (``handed`` counts them); a consumer's
# process only reads its messages, in the order of ``turn``. ``returns`` counts redeliveries. The triggers keep ``held``
# equal to the number of messages that a consumer holds, and ``size`` equal to the ready messages of a queue with a
# length limit and the bytes of their bodies: counting them would take longer the more there are.
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
        routing_key text not null, more_keys text, bytes integer not null, properties blob not null,
        body blob not null, expires real,
        holder integer, consumer integer, turn integer, returns integer not null default 0)""",
    """create index message_ready on message (queue, rank, id) where holder is null""",
    """create index message_held on message (holder, consumer, turn) where holder is not null""",
    """create index message_expiring on message (expires) where expires > 0 and holder is null""",
    """create index message_late on message (queue) where expires < 0 and holder is null""",
    """create table size (
        queue integer primary key, messages integer not null default 0, bytes integer not null default 0)""",
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
    """create trigger message_readied after insert on message when new.holder is null begin
        update size set messages = messages + 1, bytes = bytes + new.bytes where queue = new.queue; end""",
    """create trigger message_taken after update of holder on message when old.holder is null
        and new.holder is not null begin
        update size set messages = messages - 1, bytes = bytes - old.bytes where queue = old.queue; end""",
    """create trigger message_requeued after update of holder on message when old.holder is not null
        and new.holder is null begin
        update size set messages = messages + 1, bytes = bytes + new.bytes where queue = new.queue; end""",
    """create trigger message_removed after delete on message when old.holder is null begin
        update size set messages = messages - 1, bytes = bytes - old.bytes where queue = old.queue; end""",
    """create trigger message_returned after update of consumer on message when old.consumer is not null begin
        update consumer set held = held - 1 where id = old.consumer; end""",
    """create trigger message_done after delete on message when old.consumer is not null begin
        update consumer set held = held - 1 where id = old.consumer; end""",
)
