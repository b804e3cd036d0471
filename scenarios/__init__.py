"""What we claim about job queues and how we provoke it; the systems we know."""
