# SPDX-License-Identifier: Apache-2.0
"""tools/damage: what a damaged pool costs its users, beside its peers.

medium.py: where metadata lies on a blob, after the two FORMAT.md. payload.py: blocks that say what
they are, and what became of them. history.py: what is done before the damage. damages.py: the ways
to damage. lamina.py, file_systems.py, dm_thin.py: who is damaged. report.py, plot.py: table, JSON,
plot.
"""
