"""Conformance suites are tables: a row is a test, its docstring the sentence, or a subtest with a sentence of its own; printed as
pass or FAIL. What another test proves has a row that names it, and fails if there is no such test."""
import os
import re
import sys
import unittest

FLOW = os.path.dirname(os.path.abspath(__file__))
KEYWORD = re.compile(r'"(\d+(?:\.\d+)*) (MUST NOT|MUST|SHOULD NOT|SHOULD|RECOMMENDED|OPTIONAL|MAY): ')


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


def read(path):
    with open(os.path.join(FLOW, path), encoding="utf-8") as file:
        return file.read()


def exists(where):
    """Whether "flow_x.py Class.test_y", "helper.py Class.test_y" or "test_x.c test_y" is a test that ctest runs."""
    path, _, name = where.partition(" ")
    stem, registered = path.rpartition(".")[0], read("../CMakeLists.txt")
    if path.endswith(".c"):
        return f"scepter_unit({stem.removeprefix('test_')} " in registered and \
            f"\nstatic void {name}(void **state)\n" in read(f"../unit/{path}")
    flows = re.findall(r"^scepter_flow\((\w+)\)", registered, re.M)
    owner, _, test = name.partition(".")
    if not stem.startswith("flow_"):  # rows of its that a flow takes in
        flows = [flow for flow in flows if re.search(rf"^from {stem} import .*\b{owner}\b", read(f"flow_{flow}.py"), re.M)]
    elif stem[5:] not in flows:
        flows = []
    body = re.search(rf"^class {owner}\b.*?(?=^class |\Z)", read(path), re.M | re.S)
    return bool(flows and body and f"    def {test}(self)" in body[0])


def elsewhere(table):
    """A class of rows (sentence, where, ...) that other tests prove."""
    def make(sentence, places):
        def test(self):
            self.assertEqual([place for place in places if not exists(place)], [], "no such test")
        test.__doc__ = f"{sentence}: {', '.join(places)}"
        return test
    return type("Elsewhere", (unittest.TestCase,),
                {f"test_{number:03}": make(sentence, places) for number, (sentence, *places) in enumerate(table)})


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
