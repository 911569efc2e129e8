
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('alerts', '0003_remove_delivery_response'),
    ]

    operations = [
        migrations.AlterField(
            model_name='alert',
            name='kind',
            field=models.CharField(choices=[('budget_threshold', 'A budget reaches a part of its limit'), ('spend_velocity', 'Somebody spends much faster than usual'), ('unpriced_model', 'A model without a price is used'), ('odd_figures', 'A provider tells figures that cannot be, or runs tools without a price'), ('provider_refused', "A provider refuses the organization's credential"), ('lost_usage', 'Usage records are lost or cannot be applied')], max_length=20),
        ),
        migrations.AlterField(
            model_name='alertrule',
            name='kind',
            field=models.CharField(choices=[('budget_threshold', 'A budget reaches a part of its limit'), ('spend_velocity', 'Somebody spends much faster than usual'), ('unpriced_model', 'A model without a price is used'), ('odd_figures', 'A provider tells figures that cannot be, or runs tools without a price'), ('provider_refused', "A provider refuses the organization's credential"), ('lost_usage', 'Usage records are lost or cannot be applied')], default='budget_threshold', max_length=20),
        ),
    ]
