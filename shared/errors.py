"""Errors that a user can act on: one or two lines naming the file, the key and the remedy, never a traceback."""


class PapertrailError(Exception):
    """Something the user can mend, or a check that failed; the command line ends with status 1."""


class UsageError(PapertrailError):
    """A name or an option that does not exist; the command line ends with status 2."""


class DataError(PapertrailError):
    """A data set is missing, damaged or not what its specification says."""
