"""Currencies as shops write them: codes, symbols and words.

Rule: a symbol that several currencies share (`$`, `kr`, `¥`) names none of them by itself.
"""

import re

# ISO 4217, the codes that circulate, without funds, metals and tests.
ISO_4217 = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG
    HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD
    MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF
    SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU
    UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ZWL
"""
NO_MINOR_UNIT = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
CODES = frozenset(ISO_4217.split())
WITHOUT_DECIMALS = frozenset(NO_MINOR_UNIT.split())

DOLLARS = (
    "USD",
    "CAD",
    "AUD",
    "NZD",
    "HKD",
    "SGD",
    "TWD",
    "MXN",
    "ARS",
    "CLP",
    "COP",
    "JMD",
    "BBD",
    "TTD",
    "BSD",
    "BZD",
)
SHARED = {
    "$": DOLLARS,
    "dollar": DOLLARS,
    "dollars": DOLLARS,
    "peso": ("MXN", "ARS", "CLP", "COP", "PHP", "UYU", "DOP", "CUP"),
    "pesos": ("MXN", "ARS", "CLP", "COP", "PHP", "UYU", "DOP", "CUP"),
    "kr": ("SEK", "NOK", "DKK", "ISK"),
    "krona": ("SEK", "ISK"),
    "kroner": ("NOK", "DKK"),
    "¥": ("JPY", "CNY"),
    "rs": ("INR", "PKR", "LKR", "NPR", "MUR"),
    "₨": ("INR", "PKR", "LKR", "NPR", "MUR"),
    "rupee": ("INR", "PKR", "LKR", "NPR", "MUR"),
    "rupees": ("INR", "PKR", "LKR", "NPR", "MUR"),
    "franc": ("CHF", "XOF", "XAF", "XPF"),
    "francs": ("CHF", "XOF", "XAF", "XPF"),
    "£": ("GBP", "EGP", "LBP", "GIP", "FKP"),
    "lei": ("RON", "MDL"),
    "dinar": ("KWD", "BHD", "JOD", "RSD", "TND", "IQD", "DZD", "LYD"),
    "dirham": ("AED", "MAD"),
}
"""Symbols and words of several currencies."""

USUAL = {"£": "GBP", "lei": "RON"}
"""The currency of a shared symbol where the others hardly ever use it in shops."""

NAMES = {
    "EUR": "€ euro euros",
    "USD": "us$ usd$ $us u$s $usd u.s.$",
    "CAD": "ca$ c$ can$ cad$ cdn$ $ca $cad",
    "AUD": "a$ au$ aud$ $au $aud",
    "NZD": "nz$ nzd$ $nz $nzd",
    "HKD": "hk$ hkd$",
    "SGD": "s$ sg$ sgd$",
    "TWD": "nt$ tw$ ntd",
    "MXN": "mx$ mex$ mxn$ $mxn",
    "ARS": "ar$ ars$",
    "CLP": "cl$ clp$",
    "COP": "co$ col$ cop$",
    "BRL": "r$ brl$ reais real",
    "JMD": "j$",
    "GBP": "gb£ gbp£ £gbp pound pounds sterling",
    "JPY": "jp¥ 円 yen",
    "CNY": "cn¥ 元 rmb yuan rmb¥",
    "INR": "₹ inr₹ ₹inr",
    "PKR": "pkr₨",
    "CHF": "fr sfr franken fr.",
    "SEK": "kronor skr",
    "NOK": "nkr",
    "DKK": "dkr",
    "PLN": "zł zl złoty złotych zloty zlotych",
    "CZK": "kč kc",
    "HUF": "ft forint",
    "RON": "leu",
    "BGN": "лв lv лева",
    "RUB": "₽ руб rub rur",  # noqa: RUF001 - Cyrillic
    "UAH": "₴ грн",
    "TRY": "₺ tl",
    "ILS": "₪ nis",
    "KRW": "₩ 원 won",
    "VND": "₫ đ",
    "THB": "฿ baht",
    "PHP": "₱",
    "NGN": "₦",
    "GHS": "₵ gh₵",
    "CRC": "₡",
    "PYG": "₲",
    "KZT": "₸",
    "AZN": "₼",
    "GEL": "₾",
    "AMD": "֏",
    "LAK": "₭",
    "MNT": "₮",
    "KHR": "៛",
    "BDT": "৳ tk",
    "MYR": "rm",
    "IDR": "rp",
    "PEN": "s/ s/.",
    "ZAR": "r rand",
    "SAR": "ر.س sr",
    "AED": "د.إ dh dhs",
    "RSD": "din дин",
    "KES": "ksh kshs",
}
"""The symbols and words, in lower case, that mean one currency."""

BY_NAME = {name: code for code, names in NAMES.items() for name in names.split()}


def currencies_of(token: str) -> tuple[str, ...]:
    """The codes that `token` (a code, a symbol or a word) may mean, the likely one first; empty for anything else."""
    if token.upper() in CODES and token.isascii():
        return (token.upper(),)
    name = token.lower()
    # `kr.` and `Rs.` are abbreviations; `$.99` is an amount without its zero.
    bare = re.sub(r"(?<=\w)\.$", "", name)
    for spelling in (name, bare):
        if spelling in BY_NAME:
            return (BY_NAME[spelling],)
        if spelling in SHARED:
            return SHARED[spelling]
    return words_of(bare)


def words_of(name: str) -> tuple[str, ...]:
    """The currencies of two words, such as `us dollars` or `pound sterling`."""
    countries = {"us": "USD", "u.s": "USD", "canadian": "CAD", "australian": "AUD", "swiss": "CHF", "indian": "INR"}
    words = name.split()
    if len(words) == 2 and words[0] in countries and words[1] in SHARED:
        return (countries[words[0]],)
    if name in ("pound sterling", "pounds sterling", "british pounds", "british pound"):
        return ("GBP",)
    if name in ("japanese yen", "chinese yuan"):
        return ("JPY",) if name.startswith("j") else ("CNY",)
    return ()
