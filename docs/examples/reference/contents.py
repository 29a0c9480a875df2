import framework

contact_limit = framework.limits.Limit("5/minute", name="contact")
