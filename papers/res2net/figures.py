# %% [markdown]
# # <<title>>
#
# <<authors, venue and year>>

# %%
from __future__ import annotations

from shared.figures.report import Report

report = Report("res2net")
report.opening()

# %% [markdown]
# **The idea.** <<what the paper says, in a few lines of our own>>
#
# ## Table 1: <<what it shows>>

# %%
report.exhibit("Table 1")

# %% [markdown]
# ## Beside the exhibits
#
# Claims that stand in no exhibit that is made, so that none is left out of this notebook.

# %%
report.rest()

# %% [markdown]
# ## What we learned

# %%
report.learned()
