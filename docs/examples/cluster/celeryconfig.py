broker_url = [
    "amqp://shop:secret@one//",
    "amqp://shop:secret@two//",
    "amqp://shop:secret@three//",
]
