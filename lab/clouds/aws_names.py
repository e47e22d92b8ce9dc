"""The words of the AWS tables: type tokens, regions and zones."""

from __future__ import annotations

from typing import Final

from lab.clouds import network

ZONES: Final = {
    region: tuple(f"{region}{letter}" for letter in letters)
    for region, letters in {
        "af-south-1": "abc",
        "ap-east-1": "abc",
        "ap-northeast-1": "acd",
        "ap-northeast-2": "abcd",
        "ap-northeast-3": "abc",
        "ap-south-1": "abc",
        "ap-southeast-1": "abc",
        "ap-southeast-2": "abc",
        "ap-southeast-3": "abc",
        "ca-central-1": "abd",
        "eu-central-1": "abc",
        "eu-north-1": "abc",
        "eu-south-1": "abc",
        "eu-west-1": "abc",
        "eu-west-2": "abc",
        "eu-west-3": "abc",
        "me-south-1": "abc",
        "sa-east-1": "abc",
        "us-east-1": "abcdef",
        "us-east-2": "abc",
        "us-west-1": "bc",
        "us-west-2": "abcd",
    }.items()
}
# From 198.18.0.0/15 (RFC 2544), so that no lab address is anyone's.
FIRST_PUBLIC: Final = "198.18.1.1"
FIRST_IPV6: Final = "2001:db8:100::/56"  # RFC 3849: nobody's either
RESERVED: Final = network.ends(4, 1)  # network, router, DNS, future use; broadcast

VPC: Final = "aws:ec2/vpc:Vpc"
SUBNET: Final = "aws:ec2/subnet:Subnet"
GATEWAY: Final = "aws:ec2/internetGateway:InternetGateway"
NAT: Final = "aws:ec2/natGateway:NatGateway"
ROUTE_TABLE: Final = "aws:ec2/routeTable:RouteTable"
GROUP: Final = "aws:ec2/securityGroup:SecurityGroup"
KEY_PAIR: Final = "aws:ec2/keyPair:KeyPair"
INSTANCE: Final = "aws:ec2/instance:Instance"
EIP: Final = "aws:ec2/eip:Eip"
ASSOCIATION: Final = "aws:ec2/eipAssociation:EipAssociation"
VOLUME: Final = "aws:ebs/volume:Volume"
HOSTED_ZONE: Final = "aws:route53/zone:Zone"
USER: Final = "aws:iam/user:User"
USER_POLICY: Final = "aws:iam/userPolicy:UserPolicy"
ACCESS_KEY: Final = "aws:iam/accessKey:AccessKey"
BUCKET: Final = "aws:s3/bucket:Bucket"
BLOCK: Final = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
OWNERSHIP: Final = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
GROUPS: Final = (GROUP, f"{VPC}#defaultSecurityGroupId")
ROUTE_TABLES: Final = (ROUTE_TABLE, f"{VPC}#mainRouteTableId", f"{VPC}#defaultRouteTableId")
