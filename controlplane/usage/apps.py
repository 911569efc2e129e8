"""The app's registration."""

from django.apps import AppConfig

from controlplane.fleet.calls import booking


class UsageConfig(AppConfig):
    name = "controlplane.usage"
    label = "usage"

    def ready(self) -> None:
        """The fleet server books what pods report with what is here, and budgets ask the ledger what was spent."""
        from controlplane.budgets import earlier
        from controlplane.usage.earlier import earlier_spend
        from controlplane.usage.ingest import book, note_grown

        earlier.register(earlier_spend)
        booking.register(booking.Booking(book, note_grown))
