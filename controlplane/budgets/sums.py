"""`SaturatedSum`: a sum that no row can break, on either database."""

from __future__ import annotations

from typing import Any

from django.db.models import BigIntegerField, Sum

LARGEST_SUM = 2**63 - 1
_LOW_BITS = 31


class SaturatedSum(Sum):
    """Of integers, exact as far as 64 bits reach; beyond, the nearest number that they hold. Of no rows: 0.

    SQLite ends the query when a sum passes 64 bits, PostgreSQL gives a number of any size, which then fits no column,
    no message and no cursor. SQLite therefore adds the upper and the lower bits by themselves: two sums that billions
    of rows cannot fill, put together as a real number where they pass 64 bits, which a cast brings back into them.
    """

    empty_result_set_value = 0

    def __init__(self, expression: Any, **extra: Any) -> None:
        super().__init__(expression, output_field=BigIntegerField(), **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        high, high_parameters = self._part(compiler, connection, f"(%(expressions)s) >> {_LOW_BITS}")
        low, low_parameters = self._part(compiler, connection, f"(%(expressions)s) & {2**_LOW_BITS - 1}")
        whole = f"COALESCE({high} * {2**_LOW_BITS} + {low}, 0)"
        return f"CAST({whole} AS INTEGER)", (*high_parameters, *low_parameters)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        whole, parameters = self._part(compiler, connection, "%(expressions)s")
        return f"LEAST(GREATEST(COALESCE({whole}, 0), {-LARGEST_SUM}), {LARGEST_SUM})::bigint", parameters

    def _part(self, compiler: Any, connection: Any, summand: str) -> tuple[str, tuple[Any, ...]]:
        part = self.copy()
        part.template = f"SUM({summand})"
        sql, parameters = Sum.as_sql(part, compiler, connection)
        return sql, tuple(parameters)
