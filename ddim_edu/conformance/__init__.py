"""A conformance kit for DDIM code: a verdict, and the name of the bug.

``check(function, kind)`` gives a :class:`~ddim_edu.conformance.report.Verdict`; ``assert_conforms(function, kind)`` is
the line for a test of your own::

    from ddim_edu.conformance import assert_conforms

    def test_my_sampler():
        assert_conforms(my_sampler, "sampler")

On a command line: ``python -m ddim_edu.conformance FILE.py:FUNCTION --kind step``.
"""

from ddim_edu.conformance.kit import assert_conforms, check

__all__ = ["assert_conforms", "check"]
