"""A shopping basket: items, a total, and a discount for large orders."""

from dataclasses import dataclass

DISCOUNT = 0.10
DISCOUNT_FROM = 100.00


@dataclass(frozen=True)
class Item:
    name: str
    price: float
    count: int = 1


def total(items):
    """What the items cost together, with 10 % off from 100.00 on."""
    amount = sum(item.price * item.count for item in items)
    if amount >= DISCOUNT_FROM:
        amount -= amount * DISCOUNT
    return round(amount, 2)


def receipt(items):
    """A receipt as text, one line an item."""
    lines = [f"{item.count:>3} x {item.name:<20} {item.price * item.count:>8.2f}" for item in items]
    lines.append(f"{'total':<26} {total(items):>8.2f}")
    return "\n".join(lines) + "\n"
