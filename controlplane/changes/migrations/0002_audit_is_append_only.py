"""PostgreSQL: the audit refuses UPDATE and DELETE, whoever asks. (SQLite has one writer, the application, which refuses too.)"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

FORWARDS = """
CREATE FUNCTION changes_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are neither changed nor deleted';
END $$;
CREATE TRIGGER changes_audit_is_append_only BEFORE UPDATE OR DELETE ON changes_auditevent
    FOR EACH ROW EXECUTE FUNCTION changes_audit_is_append_only();
"""
BACKWARDS = """
DROP TRIGGER changes_audit_is_append_only ON changes_auditevent;
DROP FUNCTION changes_audit_is_append_only();
"""


def forwards(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FORWARDS)


def backwards(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(BACKWARDS)


class Migration(migrations.Migration):
    dependencies = [("changes", "0001_initial")]
    operations = [migrations.RunPython(forwards, backwards)]
