from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('usage', '0004_refusal_budget'),
    ]

    operations = [
        migrations.RemoveField(
            model_name='usagerecord',
            name='fingerprint',
        ),
    ]
