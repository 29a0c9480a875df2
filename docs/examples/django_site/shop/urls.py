from functools import partial

from django.db import transaction
from django.http import JsonResponse
from django.urls import path

from shop.models import Order
from shop.tasks import confirm


def place(request):
    with transaction.atomic():
        order = Order.objects.create(customer=request.POST["customer"])
        transaction.on_commit(partial(confirm.delay, order.pk))
    return JsonResponse({"order": order.pk}, status=202)


def show(_request, order):
    return JsonResponse({"confirmed": Order.objects.get(pk=order).confirmed})


urlpatterns = [path("orders", place), path("orders/<int:order>", show)]
