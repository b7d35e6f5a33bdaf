"""Conformance suites are tables: a row is a test, its docstring the sentence, or a subtest with a sentence of its own; printed as
pass or FAIL. What another test proves has a row that names it, which fails unless ctest runs such a test and it says so; it is
printed as differs, with the reason, where we do otherwise."""
import ast
import functools
import os
import re
import sys
import unittest

FLOW = os.path.dirname(os.path.abspath(__file__))
KEYWORD = re.compile(r'"(?:RFC 8894 )?(\d+(?:\.\d+)*) (MUST NOT|MUST|SHOULD NOT|SHOULD|RECOMMENDED|OPTIONAL|MAY)(?:: |",)')


class Rows(unittest.TextTestResult):
    def show(self, word, sentence):
        self.stream.writeln(f"{word}  {' '.join(sentence.split())}")

    def show_test(self, word, test):
        """The row of the whole, unless it is one of its parts."""
        sentence = getattr(test, "_testMethodDoc", None)
        if sentence or word == "FAIL":
            self.show(word, sentence or str(test))

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.show_test(getattr(getattr(test, test._testMethodName), "word", "pass"), test)

    def addFailure(self, test, err):
        unittest.TestResult.addFailure(self, test, err)
        self.show_test("FAIL", test)

    def addError(self, test, err):
        unittest.TestResult.addError(self, test, err)
        self.show_test("FAIL", test)

    def addSubTest(self, test, subtest, err):
        unittest.TestResult.addSubTest(self, test, subtest, err)
        self.show("FAIL" if err else "pass", re.sub(r"^\[(.*)\]$", r"\1", subtest._subDescription()))


@functools.cache
def read(path):
    with open(os.path.join(FLOW, path), encoding="utf-8") as file:
        return file.read()


@functools.cache
def tests_of(stem):
    """{test: what it says of itself} of those that ctest runs: CMocka's of test_NAME.c, or Class.test of flow_NAME.py or of a
    file whose class a flow takes in."""
    registered = read("../CMakeLists.txt")
    if stem.startswith("test_"):
        source = read(f"../unit/{stem}.c") if f"scepter_unit({stem[5:]} " in registered else ""  # static: the compiler sees that it is used
        return {test: text for text, test in re.findall(r"/\*((?:(?!\*/).)*)\*/\nstatic void (\w+)\(void \*\*state\)\n", source, re.S)}
    flows = re.findall(r"^ *scepter_flow\((\w+)", registered, re.M)
    own = stem in flows
    taken = "" if own else " ".join(" ".join(re.findall(rf"^from {stem} import (.*)", read(f"flow_{flow}.py"), re.M)) for flow in flows)
    return {f"{cls.name}.{test.name}": ast.get_docstring(test) or ""
            for cls in ast.parse(read(f"flow_{stem}.py" if own else f"{stem}.py")).body if isinstance(cls, ast.ClassDef)
            if own or re.search(rf"\b{cls.name}\b", taken)
            for test in cls.body if isinstance(test, ast.FunctionDef)}


def is_about(said, key):
    """Whether a test says "S9", "quirks 11 and 12", "RFC 7030 sections 3.5 and 4.1.3"; a C test need name no list of ours."""
    word, _, number = key.rpartition(" ")
    before = rf"\b{word}s? (?:sections? |and |[\d., ])*(?<![\d.])" if word else r"\b"
    return re.search(rf"{before}{re.escape(number)}(?![\d.]*\d)", re.sub(r"[\s*]+", " ", said), re.I) is not None


def named(places):
    """(stem, test) of each of "NAME Class.test, test, Class.test, test_NAME test": what is left out is as before."""
    stem = cls = ""
    for place in places.split(", "):
        stem, test = place.split(" ") if " " in place else (stem, place)
        cls = test.rpartition(".")[0] or ("" if stem.startswith("test_") else cls)
        yield stem, f"{cls}.{test.rpartition('.')[2]}".lstrip(".")


def elsewhere(*tables):
    """A class of rows (key, sentence, places[, why we differ]): that of RFC 7030 4.1.3 has "RFC 7030 4.1.3" or, with its
    strength, "RFC 7030 4.1.3 MUST" for a key."""
    def make(key, sentence, places, why=None):
        def test(self):
            about = re.match(r"RFC \d+ [\w.]+|.*", key)[0]
            for stem, name in named(places):
                said = tests_of(stem).get(name)
                self.assertIsNotNone(said, f"ctest runs no {stem} {name}")
                if about.startswith("RFC") or not stem.startswith("test_"):
                    self.assertTrue(is_about(said, about), f"{stem} {name} does not say that it is about {about}: {said}")
        test.word = "differs" if why else "pass"
        test.__doc__ = f"{key}: {sentence}: {why + ': ' if why else ''}{places}"
        return test
    return type("Elsewhere", (unittest.TestCase,),
                {f"test_{number:03}": make(*row) for number, row in enumerate(row for table in tables for row in table)})


def numbered(word, table):
    """Keys for rows that are known by their number."""
    return [(f"{word}{number}", *row) for number, row in enumerate(table, 1)]


def keywords(*paths):
    """How many rows in these files begin with a section and a keyword of RFC 2119."""
    found = {}
    for path in paths:
        for section, keyword in KEYWORD.findall(read(path)):
            words = found.setdefault(section, {})
            words[keyword] = words.get(keyword, 0) + 1
    return found


def main():
    sys.exit(unittest.main(testRunner=unittest.TextTestRunner(resultclass=Rows, verbosity=0), exit=True))
