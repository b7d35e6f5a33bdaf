"""Conformance suites are tables: a row a test, its docstring the sentence, printed as pass or FAIL."""
import sys
import unittest


class Rows(unittest.TextTestResult):
    def show(self, test, word):
        self.stream.writeln(f"{word}  {' '.join((getattr(test, '_testMethodDoc', None) or str(test)).split())}")

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.show(test, getattr(getattr(test, test._testMethodName), "word", "pass"))

    def addFailure(self, test, err):
        unittest.TestResult.addFailure(self, test, err)
        self.show(test, "FAIL")

    def addError(self, test, err):
        unittest.TestResult.addError(self, test, err)
        self.show(test, "FAIL")


def main():
    sys.exit(unittest.main(testRunner=unittest.TextTestRunner(resultclass=Rows, verbosity=0), exit=True))
