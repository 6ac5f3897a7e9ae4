"""Reading business data of ERP systems: products, stock, orders and suppliers, under the names that people give them.

Names are compared in lower case without anything but letters and digits, so `lead_time_days`, `leadTimeDays` and `Lead time (days)`
are one. What is not understood is left out; nothing here raises.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any

# Of one list or object; what is beyond is not read.
MOST_ROWS = 10_000
MOST_NESTED = 1_000
_NOT_PLAIN = re.compile(r"[^a-z0-9]")

PRODUCTS = ("products", "items", "materials", "articles", "skus", "catalog", "catalogue", "goods")
STOCKS = ("stock", "stocks", "inventory", "inventories", "stocklevels", "onhand", "warehouse", "warehousestock")
ORDERS = ("orders", "sales", "salesorders", "orderlines", "saleslines", "demand", "demands", "invoices", "shipments")
SUPPLIERS = ("suppliers", "supplier", "vendors", "vendor")

_PRODUCT = (
    *("sku", "product", "productid", "item", "itemid", "itemcode", "material", "materialid", "article", "articleid"),
    *("matnr", "productcode", "partnumber", "part"),
)
_NAME = ("id", "name", "code", "key", "number", "title", "lifnr")
_QUANTITY = (
    *("quantity", "qty", "amount", "units", "count", "ordered", "quantityordered", "sold", "menge", "kwmeng", "volume"),
)
_ON_HAND = (
    "onhand",
    "stock",
    "available",
    "level",
    "instock",
    "labst",
    "inventory",
    "stocklevel",
    "quantityonhand",
    "balance",
)
_TIME = (
    *("date", "day", "time", "timestamp", "orderedat", "orderdate", "createdat", "created", "soldat", "saledate"),
    *("postingdate", "documentdate", "erdat", "audat", "invoicedate", "shippedat", "period"),
)
_LINES = ("lines", "items", "positions", "orderlines", "lineitems", "products", "details")
_LEAD_TIME = (
    *("leadtime", "leadtimedays", "leadtimeindays", "leaddays", "deliverydays", "deliverytime", "deliverytimedays"),
    *("plifz", "replenishmentleadtime", "days"),
)
_PRICE = ("price", "unitprice", "salesprice", "listprice", "netpr", "sellingprice")
_COST = ("cost", "unitcost", "purchaseprice", "standardcost", "stprs")
_SUPPLIER = ("supplier", "supplierid", "suppliername", "vendor", "vendorid", "lifnr")
_REORDER = ("reorderpoint", "reorderlevel", "minstock", "minimumstock", "safetystock", "minbe")
_ORDER_UP_TO = ("orderupto", "maxstock", "maximumstock", "targetstock", "mabst")
# What the documentation tells of them.
READ: Mapping[str, Sequence[str]] = {
    "products": PRODUCTS,
    "stock": STOCKS,
    "orders": ORDERS,
    "suppliers": SUPPLIERS,
    "which product": _PRODUCT,
    "how many": _QUANTITY,
    "how many are there": _ON_HAND,
    "when": _TIME,
    "lines of an order": _LINES,
    "lead time, in days": _LEAD_TIME,
    "price": _PRICE,
    "cost": _COST,
    "supplier of a product": _SUPPLIER,
    "reorder point": _REORDER,
    "order up to": _ORDER_UP_TO,
    "name of a record": _NAME,
}


@dataclass(slots=True)
class Product:
    """What is known of one product; None where nothing is."""

    price: float | None = None
    cost: float | None = None
    lead_time: float | None = None
    supplier: str | None = None
    reorder_point: float | None = None
    order_up_to: float | None = None
    on_hand: float | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A line of an order: `day` counts from any day; None where no time is told."""

    product: str | None
    quantity: float
    day: float | None = None


@dataclass(slots=True)
class Business:
    """All that was understood. `orders_without_lines` is a bare number of orders."""

    products: dict[str, Product] = field(default_factory=dict[str, Product])
    orders: list[Order] = field(default_factory=list[Order])
    orders_without_lines: float = 0
    suppliers: dict[str, float | None] = field(default_factory=dict[str, float | None])

    @property
    def is_usable(self) -> bool:
        """Tell whether there is anything that could be sold."""
        stocked = any(product.on_hand is not None for product in self.products.values())
        return bool(self.orders) or self.orders_without_lines > 0 or stocked


def business_of(data: Any) -> Business:
    """Return what `data`, any JSON, tells of a business."""
    business = Business()
    if isinstance(data, Mapping):
        plain = _plain(data)
        _read_products(business, _first(plain, PRODUCTS))
        _read_stock(business, _first(plain, STOCKS))
        _read_orders(business, _first(plain, ORDERS))
        _read_suppliers(business, _first(plain, SUPPLIERS))
    return business


def _read_products(business: Business, told: Any) -> None:
    for name, record in _records(told, (*_PRODUCT, *_NAME)):
        product = business.products.setdefault(name, Product())
        if not isinstance(record, Mapping):
            product.price = _number(record)
            continue
        plain = _plain(record)
        product.price = _number(_first(plain, _PRICE))
        product.cost = _number(_first(plain, _COST))
        product.lead_time = _number(_first(plain, _LEAD_TIME))
        product.supplier = _text(_first(plain, _SUPPLIER))
        product.reorder_point = _number(_first(plain, _REORDER))
        product.order_up_to = _number(_first(plain, _ORDER_UP_TO))
        product.on_hand = _number(_first(plain, (*_ON_HAND, *_QUANTITY)))


def _read_stock(business: Business, told: Any) -> None:
    """Levels in several places are one."""
    seen: dict[str, float] = {}
    for name, level in _levels(told):
        seen[name] = seen.get(name, 0) + level
    for name, level in seen.items():
        business.products.setdefault(name, Product()).on_hand = level


def _levels(told: Any) -> Iterator[tuple[str, float]]:
    """Yield products with what is there of them, place by place: `{"north": {"widgets": 42}}` has places too."""
    for name, record in _records(told, (*_PRODUCT, *_NAME)):
        nested = _plain(record) if isinstance(record, Mapping) else {}
        level = _number(_first(nested, (*_ON_HAND, *_QUANTITY)) if nested else record)
        if level is not None:
            yield name, level
        elif isinstance(record, Mapping) and isinstance(told, Mapping):
            numbers = ((str(each)[:200], _number(value)) for each, value in list(record.items())[:MOST_NESTED])
            yield from ((each, number) for each, number in numbers if number is not None)


def _read_orders(business: Business, told: Any) -> None:
    count = _number(told)
    if count is not None:
        business.orders_without_lines = count
    elif isinstance(told, Mapping):
        for name, value in list(told.items())[:MOST_ROWS]:
            _read_order(business, value, str(name)[:200])
    elif _is_list(told):
        for record in told[:MOST_ROWS]:
            _read_order(business, record, None)


def _read_order(business: Business, record: Any, name: str | None) -> None:
    if not isinstance(record, Mapping):
        quantity = _number(record)
        if quantity:
            business.orders.append(Order(name, quantity))
        return
    plain = _plain(record)
    day = _day(_first(plain, _TIME))
    lines = _first(plain, _LINES)
    if not _is_list(lines):
        business.orders.append(_line(plain, day, name))
        return
    for line in lines[:MOST_NESTED]:
        if isinstance(line, Mapping) and len(business.orders) < MOST_ROWS:
            business.orders.append(_line(_plain(line), day, name))


def _line(plain: Mapping[str, Any], day: float | None, name: str | None) -> Order:
    quantity = _number(_first(plain, _QUANTITY))
    own_day = _day(_first(plain, _TIME))
    product = _text(_first(plain, _PRODUCT)) or name
    return Order(product, 1.0 if quantity is None else quantity, day if own_day is None else own_day)


def _read_suppliers(business: Business, told: Any) -> None:
    for name, record in _records(told, (*_SUPPLIER, *_NAME)):
        lead_time = _number(_first(_plain(record), _LEAD_TIME) if isinstance(record, Mapping) else record)
        business.suppliers[name] = lead_time


def _records(told: Any, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield names with what is told of them: of an object its members, of a list the records that name themselves."""
    if isinstance(told, Mapping):
        plain = _plain(told)
        if _text(_first(plain, keys)) is not None and len(plain) > 1:
            yield str(_text(_first(plain, keys))), told
            return
        yield from ((str(name)[:200], record) for name, record in list(told.items())[:MOST_ROWS])
    elif _is_list(told):
        for record in told[:MOST_ROWS]:
            name = _text(_first(_plain(record), keys) if isinstance(record, Mapping) else record)
            if name is not None:
                yield name, record


def _plain(record: Mapping[Any, Any]) -> dict[str, Any]:
    return {_plain_name(str(name)[:200]): value for name, value in islice(record.items(), MOST_ROWS)}


# Records of a list have the same names.
@lru_cache(1024)
def _plain_name(name: str) -> str:
    return _NOT_PLAIN.sub("", name.lower())


def _first(plain: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        value = plain.get(name)
        if value is not None:
            return value
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _number(value: Any) -> float | None:
    """Return a number that is not negative, also one that is written as text; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number <= 1e9 else None


def _text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**18 else None
    return value[:200] if isinstance(value, str) and value.strip() else None


def _day(value: Any) -> float | None:
    """Return the day of a date, of a time, or of a number of days."""
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            return None
        return when.toordinal() + (when.hour + when.minute / 60) / 24
    return _number(value)
