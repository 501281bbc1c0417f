"""May it go, and how? A removal is a Plan first; nothing but its execution changes anything."""
