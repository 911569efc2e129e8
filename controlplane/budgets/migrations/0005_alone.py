from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('budgets', '0004_budget_lease_epoch'),
    ]

    operations = [
        migrations.AddField(
            model_name='leasesession',
            name='alone_ms',
            field=models.BigIntegerField(
                default=0, help_text='Unix milliseconds: when it was back after its pod had to decide by itself.'
            ),
        ),
    ]
