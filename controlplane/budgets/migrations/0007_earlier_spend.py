
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('budgets', '0006_one_crossing_per_limit'),
    ]

    operations = [
        migrations.AddField(
            model_name='account',
            name='adding_up',
            field=models.BooleanField(db_default=False, default=False, help_text='What was spent earlier is not all added up yet.'),
        ),
        migrations.AddField(
            model_name='account',
            name='earlier_nano',
            field=models.BigIntegerField(db_default=0, default=0, help_text='The part of what is settled that requests of its window cost which did not draw on it, since it did not count them yet; below zero: what others cost that it does not cover any more.'),
        ),
        migrations.AddField(
            model_name='budget',
            name='count_earlier',
            field=models.BooleanField(db_default=False, default=True, help_text="The window that runs when it is made, switched on, or given another window, provider or models, counts from its beginning, by the ledger; “in total” from the ledger's. Otherwise it counts from then on. A reset by hand always begins at nothing."),
        ),
        migrations.AlterField(
            model_name='budget',
            name='counts_from',
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False, help_text='From when it counts in windows such as it has now.'),
        ),
        migrations.CreateModel(
            name='EarlierCount',
            fields=[
                ('budget_id', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('window_key', models.CharField(max_length=120)),
                ('since', models.DateTimeField(help_text="Empty: from the ledger's first record on.", null=True)),
                ('changed_at', models.DateTimeField()),
                ('due_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['due_at'], name='earlier_count_by_time')],
            },
        ),
    ]
