"""E-mail through the operator's mail server (`AIGATEWAY_SMTP_URL`), as plain text."""

from __future__ import annotations

import smtplib

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email

from controlplane.alerts.channels.channel import DeliveryOutcome, Destination, Event, cut
from dataplane.core.secret import Secret

MOST_RECIPIENTS = 20
LONGEST_SUBJECT = 180  # characters


class Email:
    kind = "email"
    help = "Goes out through the mail server that the operator has set (AIGATEWAY_SMTP_URL)."
    address_label = "Recipients"
    default_address = ""
    secret_label = ""
    says_resolved = False

    def check_address(self, address: str) -> str:
        recipients = list(dict.fromkeys(part.strip() for part in address.split(",") if part.strip()))
        if not 0 < len(recipients) <= MOST_RECIPIENTS:
            raise ValidationError({"address": f"Give 1 to {MOST_RECIPIENTS} e-mail addresses, separated by commas."})
        for recipient in recipients:
            try:
                validate_email(recipient)
            except ValidationError:
                raise ValidationError({"address": f"“{recipient[:80]}” is not an e-mail address."}) from None
        return ", ".join(recipients)

    def check_secret(self, secret: Secret) -> Secret:
        raise ValidationError({"secret": "E-mail takes no secret: the operator sets the mail server."})

    def deliver(self, event: Event, destination: Destination) -> DeliveryOutcome:
        if settings.EMAIL_BACKEND.endswith("dummy.EmailBackend"):
            return DeliveryOutcome(False, "No mail server is set: the operator sets AIGATEWAY_SMTP_URL.")
        recipients = destination.address.split(", ")
        message = EmailMessage(
            subject=_subject(event),
            body=_body(event),
            to=recipients,
            headers={
                "Message-ID": f"<{event.id}@aigateway.invalid>",
                "Auto-Submitted": "auto-generated",
                "X-Langwatch-Event": f"alert.{event.what}",
            },
        )
        try:
            message.send()
        except smtplib.SMTPRecipientsRefused:
            return DeliveryOutcome(False, "The mail server refuses the recipients.", again=False)
        except smtplib.SMTPAuthenticationError as error:
            return DeliveryOutcome(False, f"The mail server refuses its user or password ({error.smtp_code}).")
        except smtplib.SMTPResponseException as error:
            return DeliveryOutcome(
                False, f"The mail server refuses the message ({error.smtp_code}).", again=error.smtp_code < 500
            )
        except (smtplib.SMTPException, OSError) as error:
            return DeliveryOutcome(False, f"The mail server could not be used ({type(error).__name__}).")
        people = "recipient" if len(recipients) == 1 else "recipients"
        return DeliveryOutcome(True, f"The mail server took it for {len(recipients)} {people}.")


def _subject(event: Event) -> str:
    mark = {"test": "Test", "resolved": "Resolved"}.get(event.what, event.severity.capitalize())
    return cut(" ".join(f"[AI Gateway] {mark}: {event.title}".split()), LONGEST_SUBJECT)


def _body(event: Event) -> str:
    facts = "\n".join(f"{name}: {value}" for name, value in event.facts)
    end = f"\n\n{event.link}" if event.link else ""
    return f"{event.title}\n\n{facts}\n\nRule: {event.rule}\nOrganization: {event.organization}{end}\n"
