from framework import Limit

contact_limit = Limit("5/minute", name="contact")
