"""The Pulumi components: what a stack is made of. They know mesh/ and never each other's inside."""
