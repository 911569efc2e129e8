from django.db import migrations, models
from django.db.models import F


def begun_by_who_reports(apps, schema_editor):
    sessions = apps.get_model('usage', 'ReportSession')
    sessions.objects.update(opened_by=F('identity'))


class Migration(migrations.Migration):

    dependencies = [
        ('usage', '0005_no_fingerprint'),
    ]

    operations = [
        migrations.AlterField(
            model_name='reportsession',
            name='identity',
            field=models.CharField(blank=True, help_text='Of the pod that reports it now.', max_length=64),
        ),
        migrations.AddField(
            model_name='reportsession',
            name='opened_by',
            field=models.CharField(
                blank=True, default='', help_text='Identity of the pod that began it.', max_length=64
            ),
            preserve_default=False,
        ),
        migrations.RunPython(begun_by_who_reports, migrations.RunPython.noop),
    ]
