from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenancy', '0004_cuts'),
    ]

    operations = [
        migrations.CreateModel(
            name='LoginPlace',
            fields=[
                ('key', models.CharField(help_text='Keyed digest of the account and the place.', max_length=64, primary_key=True, serialize=False)),
                ('account', models.CharField(help_text='Keyed digest of the account.', max_length=64)),
                ('until', models.DateTimeField(help_text='When it is forgotten, unless the password is right there again.')),
            ],
            options={
                'indexes': [models.Index(fields=['account'], name='login_places_by_account'), models.Index(fields=['until'], name='login_places_by_end')],
            },
        ),
    ]
