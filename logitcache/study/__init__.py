"""The study: what a recipe asks, and what its finished runs answer, as claims, tables, figures and one page.

``options``      the recipe's table ``[study]``
``columns``      columns that a study may name, and filters on them
``runs``         results of all variants of a recipe as one table; ``facts`` says what ran, on what, where
``claims``       verdicts; ``contrasts`` pairs runs, ``judging`` has the tests
``tables``       rows of runs that differ by seed only
``figures``      heat maps, lines and points
``section``      one experiment as text; ``page`` has all of them
``collect``      a study's small result files, kept beside the page
``penultimate``  the penultimate layer's view of three classes, by ``features``, measured as in
                 ``logitcache.statistics.templates``; ``points`` are its figure's, which ``penultimate_figure`` draws
``published``    figures of the paper, where the setting is the same
"""
