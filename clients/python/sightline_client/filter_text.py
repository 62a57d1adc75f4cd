"""A filter as people write it -> a `Filter`.

    filter     condition condition ...            every condition must be met
    condition  NAME = value, value ...            any one of the values
               id != value ...   group != ...     none of the values
               price <= 50 USD   price >= 10 USD  price = 10..50 USD   price = 50 USD
                                                  bounds for several currencies: a price within one of them
               available                          the same as availability = in_stock
    NAME       brand, category, availability, id, group (an item_group_id), or an attribute such as color;
               attribute.NAME where an attribute has one of these names
    value      a word, or any text in quotes; \\" and \\\\ stand for a quote and a backslash in it

Rule: text that cannot be read in one way is an error that shows its position; nothing is left out or guessed.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from sightline_client.errors import FieldViolation, InvalidRequestError
from sightline_client.filters import Filter, PriceRange

FIELDS = {"brand": "brands", "category": "categories", "availability": "availabilities", "id": "product_ids"}
FIELDS |= {"group": "item_group_ids"}
EXCLUDED = {"id": "excluded_product_ids", "group": "excluded_item_group_ids"}
AVAILABILITIES = ("in_stock", "out_of_stock", "preorder", "backorder")
ATTRIBUTE = "attribute."

BLANKS = re.compile(r"\s*")
NAME = re.compile(r"[^\W\d][\w\-]*(?:\.(?=[\w\"']))?")
NAME_REST = re.compile(r"[\w\-]+")
OPERATOR = re.compile(r"!=|<=|>=|[=:<>]")
WORD = re.compile(r"[^\s,\"'=<>!\\]+")
QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'", re.DOTALL)
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
COMMA = re.compile(r"\s*,\s*")
AMOUNT = re.compile(r"\d+(?:\.\d+)?")
CURRENCY = re.compile(r"[A-Za-z]{3}\b")
SHOWN = 30
"""Number of characters of the text that an error shows on each side of the fault."""


class FilterTextError(InvalidRequestError):
    """The text of a filter cannot be read. `position` counts characters from 0; `shown` points at it in two lines."""

    def __init__(self, problem: str, text: str, position: int) -> None:
        message = f"the filter cannot be read at character {position + 1}: {problem}"
        super().__init__(message, violations=[FieldViolation("filter", message)])
        self.position = position
        self.shown = pointed(text, position)


def pointed(text: str, position: int) -> str:
    """The text around `position`, and a line below with a caret at it."""
    start = max(0, position - SHOWN)
    before, after = text[start:position], text[position : position + SHOWN]
    line = "".join(letter if letter.isprintable() else " " for letter in before + after)
    lead, tail = "..." if start else "", "..." if position + SHOWN < len(text) else ""
    return f"{lead}{line}{tail}\n{' ' * (len(lead) + len(before))}^"


def parse_filter(text: str) -> Filter:
    """The filter that `text` describes, such as `brand=Norrvik price<=50 USD available`. Raises `FilterTextError`."""
    return _Parser(text).parse()


@dataclass(slots=True)
class _Bounds:
    """The bounds of one currency that were read so far."""

    minimum: Decimal | None = None
    maximum: Decimal | None = None


@dataclass(slots=True)
class _Parser:
    text: str
    at: int = 0
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ranges: list[PriceRange] = field(default_factory=list)
    bounds: dict[str, _Bounds] = field(default_factory=dict)

    def parse(self) -> Filter:
        self._take(BLANKS)
        while self.at < len(self.text):
            self._condition()
            if self.at < len(self.text) and not self._take(BLANKS):
                raise self._error("expected a blank before the next condition")
        found = (PriceRange(currency, each.minimum, each.maximum) for currency, each in self.bounds.items())
        return Filter(**self.lists, attributes=self.attributes, prices=(*self.ranges, *found))

    def _condition(self) -> None:
        start = self.at
        name, is_attribute = self._name()
        if name == "available" and not is_attribute:
            return self._available(start)
        after = self.at
        self._take(BLANKS)
        sign = self._take(OPERATOR)
        if not sign:
            raise self._error(f'expected = after "{name}"', after)
        self._take(BLANKS)
        if name == "price" and not is_attribute:
            return self._price(sign, start)
        if sign not in ("=", "!="):
            raise self._error(f'"{name}" takes = and values; <= and >= are for price', self.at - len(sign))
        if is_attribute or name not in FIELDS:
            return self._attribute(name, sign, start)
        return self._list(name, sign, start)

    def _name(self) -> tuple[str, bool]:
        name = self._take(NAME)
        if not name:
            raise self._error("expected a name such as brand, category, price, color or available")
        if name.endswith("."):
            if name != ATTRIBUTE:
                raise self._error(f"only {ATTRIBUTE} may precede a name", self.at - 1)
            quoted = self._quoted()
            return (self._take(NAME_REST) if quoted is None else quoted), True
        return name, False

    def _available(self, start: int) -> None:
        if OPERATOR.match(self.text[self.at :].lstrip()):
            raise self._error('"available" takes no value; write availability=in_stock,preorder for others')
        self._set("availability", "availabilities", ("in_stock",), start)

    def _list(self, name: str, sign: str, start: int) -> None:
        if sign == "!=" and name not in EXCLUDED:
            raise self._error(f'"{name}" cannot be excluded; != is for id and group', start)
        first = self.at
        found = self._values(name)
        if name == "availability":
            found = tuple(self._known_availability(value, first) for value in found)
        self._set(name, EXCLUDED[name] if sign == "!=" else FIELDS[name], found, start)

    def _attribute(self, name: str, sign: str, start: int) -> None:
        if sign == "!=":
            raise self._error(f'"{name}" cannot be excluded; != is for id and group', start)
        if name in self.attributes:
            raise self._error(f'"{name}" is given twice; write {name}=a,b for either of two', start)
        self.attributes[name] = self._values(name)

    def _set(self, name: str, field_name: str, found: tuple[str, ...], start: int) -> None:
        if field_name in self.lists:
            raise self._error(f'"{name}" is given twice; write {name}=a,b for either of two', start)
        self.lists[field_name] = found

    def _known_availability(self, value: str, at: int) -> str:
        known = "_".join(value.lower().replace("-", " ").replace("_", " ").split())
        if known not in AVAILABILITIES:
            raise self._error(f"{value!a} is not one of {', '.join(AVAILABILITIES)}", at)
        return known

    def _values(self, name: str) -> tuple[str, ...]:
        found = [self._value(name)]
        while self._take(COMMA):
            found.append(self._value(name))
        return tuple(found)

    def _value(self, name: str) -> str:
        quoted = self._quoted()
        value = self._take(WORD) if quoted is None else quoted
        if not value:
            raise self._error(f'expected a value for "{name}"; text with blanks or , = < > ! is put in quotes')
        return value

    def _quoted(self) -> str | None:
        mark = self.text[self.at : self.at + 1]
        if mark not in ("'", '"') or not mark:
            return None
        match = QUOTED.match(self.text, self.at)
        if match is None:
            raise self._error("this quote is not closed")
        self.at = match.end()
        return ESCAPE.sub(r"\1", match[1] if match[1] is not None else match[2])

    def _price(self, sign: str, start: int) -> None:
        if sign not in ("=", "<=", ">="):
            raise self._error("price takes <=, >= or =", self.at - len(sign))
        if sign == "=":
            self._price_ranges(start)
        else:
            self._bound("minimum" if sign == ">=" else "maximum", sign, start)
        twice = {each.currency for each in self.ranges} & set(self.bounds)
        if twice:
            raise self._error(f"the price in {min(twice)} is given as a range and as a bound", start)

    def _bound(self, name: str, sign: str, start: int) -> None:
        amount, currency = self._amount(), self._currency()
        bounds = self.bounds.setdefault(currency, _Bounds())
        if getattr(bounds, name) is not None:
            raise self._error(f"price{sign} is given twice for {currency}", start)
        setattr(bounds, name, amount)
        self._in_order(bounds.minimum, bounds.maximum, start)

    def _price_ranges(self, start: int) -> None:
        if self.ranges:
            raise self._error("price= is given twice; write price=10..20 USD,40..50 USD for either range", start)
        self._price_range(start)
        while self._take(COMMA):
            self._price_range(start)

    def _price_range(self, start: int) -> None:
        low = self._amount() if AMOUNT.match(self.text, self.at) else None
        ranged = self.text.startswith("..", self.at)
        if not ranged and low is None:
            raise self._error("expected an amount such as 50, or a range such as 10..50")
        self.at += 2 if ranged else 0
        high = low if not ranged else self._amount() if AMOUNT.match(self.text, self.at) else None
        self.ranges.append(PriceRange(self._currency(), low, high))
        self._in_order(low, high, start)

    def _in_order(self, low: Decimal | None, high: Decimal | None, start: int) -> None:
        if low is not None and high is not None and low > high:
            raise self._error(f"the lowest price, {low}, is above the highest, {high}", start)

    def _amount(self) -> Decimal:
        at, text = self.at, self._take(AMOUNT)
        try:
            return Decimal(text)
        except InvalidOperation:
            raise self._error("expected an amount such as 50 or 49.99", at) from None

    def _currency(self) -> str:
        self._take(BLANKS)
        currency = self._take(CURRENCY)
        if not currency:
            raise self._error("expected a currency of three letters, such as USD")
        return currency.upper()

    def _take(self, form: re.Pattern[str]) -> str:
        match = form.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match[0]

    def _error(self, problem: str, at: int | None = None) -> FilterTextError:
        return FilterTextError(problem, self.text, self.at if at is None else at)
