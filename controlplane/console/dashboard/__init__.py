"""The first page: the checklist from an empty installation to a first request, figures, boards, pods."""
