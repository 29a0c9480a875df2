rule urgent_invoice : phishing
{
    meta:
        description = "A demand to pay an invoice at once, as phishing mails write it"
    strings:
        $invoice = /(overdue|unpaid|outstanding) invoice/ nocase
        $factura = "factura pendiente" nocase
        $pressure = /(within 24 hours|en 24 horas|account will be closed)/ nocase
    condition:
        ($invoice or $factura) and $pressure
}
