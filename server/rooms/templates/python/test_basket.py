import unittest
from pathlib import Path

from basket import Item, receipt, total


class BasketTest(unittest.TestCase):
    def test_an_empty_basket_costs_nothing(self):
        self.assertEqual(total([]), 0)

    def test_prices_are_added_up(self):
        self.assertEqual(total([Item("apple", 0.50, 4), Item("bread", 3.20)]), 5.20)

    def test_large_orders_get_ten_percent_off(self):
        self.assertEqual(total([Item("chair", 50.00, 2)]), 90.00)

    def test_a_receipt_is_written_to_a_file(self):
        items = [Item("apple", 0.50, 4), Item("chair", 50.00, 2)]
        Path("report.txt").write_text(receipt(items))
        self.assertIn("apple", Path("report.txt").read_text())


if __name__ == "__main__":
    unittest.main()
