from framework.errors import BrokerError
from framework.tasks.send_mails import send_mail

try:
    send_mail.delay("ann@example.org", text="Hello")
except BrokerError:  # the broker did not take it, or did not say so
    print("Please try again in a moment.")
