"""Real services for tests of tasks: brokers, workers, a mail server, a browser.

====================================  ==============================================
`framework.testing.pytest_plugin`     fixtures: a broker and a worker for a test run
`framework.testing.worker`            a worker, in processes of its own
`framework.testing.mailbox`           a mail server that stores the mails it receives
`framework.testing.rabbitmq`          a private RabbitMQ node
`framework.testing.rabbitmq_cluster`  a cluster of private nodes
`framework.testing.browser`           Chromium without a window
====================================  ==============================================
"""
