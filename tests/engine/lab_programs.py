"""One small Pulumi program per cloud: a network, a firewall, a host with an address, a name.

Each reads `subnet` (a number that moves its subnet, which replaces it) and `tag` from its
configuration, and gives its host secret user data.
"""

from __future__ import annotations

from typing import Final

USER_DATA: Final = "user-data-that-nobody-may-read"
CLOUD_KEY: Final = "cloud-key-that-nobody-may-read"

_HEAD = f"""
import gc
gc.disable()  # importing an SDK is 20 % faster
import pulumi
from pulumi import Output, ResourceOptions
config = pulumi.Config()
subnet, tag = config.get_int("subnet") or 1, config.get("tag") or "blue"
user_data = Output.secret("#!/bin/sh\\n# {USER_DATA}\\n")
key = Output.secret("{CLOUD_KEY}")
"""

ALICLOUD: Final = (
    _HEAD
    + """
import pulumi_alicloud as alicloud
provider = alicloud.Provider("p", region="cn-beijing", access_key="id", secret_key=key)
at = ResourceOptions(provider=provider)
images = alicloud.ecs.get_images_output(
    name_regex="^debian_12", opts=pulumi.InvokeOutputOptions(provider=provider))
network = alicloud.vpc.Network("net", cidr_block="10.0.0.0/16", opts=at)
part = alicloud.vpc.Switch("sub", vpc_id=network.id, cidr_block=f"10.0.{subnet}.0/24",
    zone_id="cn-beijing-a", opts=at)
group = alicloud.ecs.SecurityGroup("fw", vpc_id=network.id, tags={"color": tag}, opts=at)
alicloud.ecs.SecurityGroupRule("ssh", security_group_id=group.id, type="ingress",
    ip_protocol="tcp", port_range="22/22", cidr_ip="0.0.0.0/0", opts=at)
host = alicloud.ecs.Instance("host", image_id=images.ids[0], instance_type="ecs.g7.large",
    security_groups=[group.id], vswitch_id=part.id, user_data=user_data, opts=at)
address = alicloud.ecs.EipAddress("ip", bandwidth="5", opts=at)
alicloud.ecs.EipAssociation("ip", allocation_id=address.id, instance_id=host.id, opts=at)
alicloud.dns.AlidnsRecord("name", domain_name="example.com", rr="www", type="A",
    value=address.ip_address, opts=at)
store = alicloud.oss.Bucket("store", opts=at)
alicloud.oss.BucketObject("file", bucket=store.bucket, key="f", content="text", opts=at)
pulumi.export("address", address.ip_address)
pulumi.export("private", host.private_ip)
"""
)

TENCENT: Final = (
    _HEAD
    + """
import base64
import tencentcloud_iac_pulumi as tencent
provider = tencent.Provider("p", region="ap-shanghai", secret_id="id", secret_key=key)
at = ResourceOptions(provider=provider)
images = tencent.images.get_instance_output(
    image_name_regex="^Debian 12", opts=pulumi.InvokeOutputOptions(provider=provider))
network = tencent.vpc.Instance("net", cidr_block="10.0.0.0/16", opts=at)
part = tencent.subnet.Instance("sub", vpc_id=network.id, cidr_block=f"10.0.{subnet}.0/24",
    availability_zone="ap-shanghai-2", opts=at)
group = tencent.security.Group("fw", tags={"color": tag}, opts=at)
tencent.security.GroupRuleSet("rules", security_group_id=group.id, ingresses=[
    tencent.security.GroupRuleSetIngressArgs(
        action="ACCEPT", protocol="TCP", port="22", cidr_block="0.0.0.0/0")], opts=at)
host = tencent.instance.Instance("host", image_id=images.images[0].image_id,
    instance_type="S5.MEDIUM2", availability_zone="ap-shanghai-2", vpc_id=network.id,
    subnet_id=part.id, orderly_security_groups=[group.id],
    user_data=user_data.apply(lambda text: base64.b64encode(text.encode()).decode()), opts=at)
address = tencent.eip.Instance("ip", opts=at)
tencent.eip.Association("ip", eip_id=address.id, instance_id=host.id, opts=at)
tencent.dnspod.Record("name", domain="example.com", sub_domain="www", record_type="A",
    record_line="默认", value=address.public_ip, opts=at)
store = tencent.cos.Bucket("store", bucket="store-1250000000", opts=at)
tencent.cos.BucketObject("file", bucket=store.bucket, key="f", content="text", opts=at)
pulumi.export("address", address.public_ip)
pulumi.export("private", host.private_ip)
"""
)

AWS: Final = (
    _HEAD
    + """
import pulumi_aws as aws
provider = aws.Provider("p", region="ap-east-1", access_key="id", secret_key=key)
at = ResourceOptions(provider=provider)
image = aws.ec2.get_ami_output(owners=["136693071363"], most_recent=True,
    opts=pulumi.InvokeOutputOptions(provider=provider))
network = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", opts=at)
gate = aws.ec2.InternetGateway("gate", vpc_id=network.id, opts=at)
part = aws.ec2.Subnet("sub", vpc_id=network.id, cidr_block=f"10.0.{subnet}.0/24", opts=at)
group = aws.ec2.SecurityGroup("fw", vpc_id=network.id, tags={"color": tag}, opts=at)
aws.vpc.SecurityGroupIngressRule("ssh", security_group_id=group.id, ip_protocol="tcp",
    from_port=22, to_port=22, cidr_ipv4="0.0.0.0/0", opts=at)
host = aws.ec2.Instance("host", ami=image.id, instance_type="t3.small", subnet_id=part.id,
    vpc_security_group_ids=[group.id], user_data=user_data, opts=at)
address = aws.ec2.Eip("ip", domain="vpc", opts=at)
aws.ec2.EipAssociation("ip", allocation_id=address.id, instance_id=host.id,
    opts=ResourceOptions(provider=provider, depends_on=[gate]))
zone = aws.route53.Zone("zone", name="example.com", opts=at)
aws.route53.Record("name", zone_id=zone.id, name="www", type="A", ttl=60,
    records=[address.public_ip], opts=at)
store = aws.s3.Bucket("store", opts=at)
aws.s3.BucketObjectv2("file", bucket=store.id, key="f", content="text", opts=at)
pulumi.export("address", address.public_ip)
pulumi.export("private", host.private_ip)
"""
)

# What moving the subnet replaces, and the firewall's type, by cloud.
CLOUDS: Final = {
    "alicloud": (ALICLOUD, {"sub"}, "alicloud:ecs/securityGroup:SecurityGroup"),
    "tencentcloud": (TENCENT, {"sub"}, "tencentcloud:Security/group:Group"),
    "aws": (AWS, {"sub", "host", "ip"}, "aws:ec2/securityGroup:SecurityGroup"),
}
