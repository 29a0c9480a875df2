"""What tests of tasks need, none of it a stand-in.

====================================  ==============================================
`framework.testing.pytest_plugin`     fixtures: a broker and a worker for a test run
`framework.testing.worker`            a worker, in processes of its own
`framework.testing.mailbox`           a mail server that keeps what it is sent
`framework.testing.rabbitmq`          a private RabbitMQ
`framework.testing.rabbitmq_cluster`  several of them as one cluster
`framework.testing.browser`           Chromium without a window
====================================  ==============================================
"""
