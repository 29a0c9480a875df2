from shop.app import app


@app.task
def pack(order):
    print(f"packing order {order}")
    return f"order {order} is packed"
