
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('providers', '0005_price_factors'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='first_byte_s',
            field=models.PositiveIntegerField(blank=True, help_text="How long it may take until its answer begins, in seconds. Empty: as the pods' settings say (600).", null=True),
        ),
        migrations.AddField(
            model_name='provider',
            name='idle_s',
            field=models.PositiveIntegerField(blank=True, help_text="How long it may be silent within an answer, in seconds. Empty: as the pods' settings say (600).", null=True),
        ),
        migrations.AddField(
            model_name='provider',
            name='model_waits',
            field=models.JSONField(blank=True, default=list, help_text='The same for single models: the first entry that matches and says it holds.'),
        ),
        migrations.AddField(
            model_name='provider',
            name='no_stream_options',
            field=models.BooleanField(db_default=False, default=False, help_text='It refuses `stream_options`: chat streams are not asked for their usage unless the client does. A provider that refuses them is found out by itself, once an hour.'),
        ),
    ]
