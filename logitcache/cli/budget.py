"""The keys of a recipe's table ``[budget]``, for the help of ``logitcache plan``."""

from __future__ import annotations

import click

__all__ = ["BudgetHelp"]


class BudgetHelp(click.Command):
    """A command whose help ends in these keys and what they say."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them below the options."""
        del ctx
        from logitcache.planning.options import BudgetOptions

        fields = BudgetOptions.model_fields.items()
        with formatter.section("Keys of the table [budget], also as --set budget.KEY=VALUE"):
            formatter.write_dl([(name, field.description or "") for name, field in fields])
