"""The ``nlphub`` command: one file for each group of verbs, each verb a thin adapter over a public function."""
