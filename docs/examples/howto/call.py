from framework.tasks.send_mails import send_mail

send_mail.delay("ann@example.org", text="Hello")
send_mail.apply_async(("ann@example.org",), {"text": "Hello"}, countdown=1)
print(send_mail.delay().get(timeout=10))
