"""What the crash tests are made of: a service, its users, its operators, and what they leave."""
